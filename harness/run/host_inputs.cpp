#include "harness/run/host_inputs.h"

#include <fmt/format.h>

#include <algorithm>

#include "harness/cases/select_cases.h"
#include "harness/tensors/inputs.h"

namespace ringside {
namespace {

HostInputs make_inputs(const Case& c, const InputsChange& change, const std::vector<Index>& batches,
                       const Positions& tokens) {
  constexpr Index kTokens = 1024;  // at a time: their values stay in the cache
  Positions pieces;
  for (const Run& run : tokens) {
    for (Index i = 0; i < run.count; i += kTokens) {
      pieces.push_back({run.position(i), run.stride, std::min(kTokens, run.count - i)});
    }
  }
  const auto make = [&](TensorId id, Index heads) {
    std::vector<std::byte> all;
    all.reserve(static_cast<std::size_t>(std::ssize(batches) * heads * count(tokens) * shape_of(c, id).dim) *
                size_of(c.dtype));
    for (const Index b : batches) {
      for (Index h = 0; h < heads; ++h) {
        for (const Run& piece : pieces) {
          const auto part = to_storage(change.generate(c, id, b, h, {piece}), c.dtype);
          all.insert(all.end(), part.begin(), part.end());
        }
      }
    }
    return all;
  };
  return {make(TensorId::q, c.heads), make(TensorId::k, c.kv_heads), make(TensorId::v, c.kv_heads),
          make(TensorId::dout, c.heads)};
}

}  // namespace

std::shared_ptr<const HostInputs> InputsCache::of(const Case& c, const Placement& placement, int rank) {
  const std::string key =
      fmt::format("{} {} {} {}", standard_key(c), c.dp, c.sp, to_string(placement.layout()));
  {
    const std::lock_guard lock(mutex_);
    if (key != key_) by_rank_.clear();
    key_ = key;
    if (const auto known = by_rank_.find(rank); known != by_rank_.end()) return known->second;
  }
  auto made = std::make_shared<const HostInputs>(
      make_inputs(c, change_, placement.batches(rank), placement.tokens(rank)));
  const std::lock_guard lock(mutex_);
  return by_rank_[rank] = std::move(made);
}

void InputsCache::clear() {
  const std::lock_guard lock(mutex_);
  key_.clear();
  by_rank_.clear();
}

}  // namespace ringside
