#include "harness/cases/case.h"

#include <fmt/format.h>

#include <bit>
#include <charconv>

#include "harness/base/hash.h"

namespace ringside {
namespace {

constexpr std::array<std::string_view, kFills.size() + 1> kFillNames = {
    "gaussian", "large_logit", "exact", "one_hot", "constant", "denormal", "inf", "nan", "given"};

constexpr std::array<std::string_view, kChecks.size()> kCheckNames = {
    "causality", "documents", "batch_permutation", "head_permutation",
    "doubling",  "dp_split",  "sp_split",          "repeat"};

/// FNV-1a of whole numbers of 8 bytes.
class Digest {
 public:
  void add(std::uint64_t number) {
    for (int byte = 0; byte < 8; ++byte) value_ = fnv_step(value_, number >> (8 * byte) & 0xff);
  }
  std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = kFnvStart;
};

std::string joined(const std::vector<Index>& bounds, const char* by) {
  std::string text;
  for (const Index bound : bounds) text += fmt::format("{}{}", text.empty() ? "" : by, bound);
  return text;
}

/// "0_100_250", or for many documents "33_" and a digest (FNV-1a) of all bounds.
std::string name_of_documents(const std::vector<Index>& cu_seqlens) {
  constexpr std::size_t kNamedDocuments = 8;
  if (cu_seqlens.size() > kNamedDocuments + 1) {
    Digest digest;
    for (const Index bound : cu_seqlens) digest.add(static_cast<std::uint64_t>(bound));
    return fmt::format("{}_{:016x}", cu_seqlens.size() - 1, digest.value());
  }
  return joined(cu_seqlens, "_");
}

}  // namespace

std::string_view to_string(Check check) { return kCheckNames[static_cast<std::size_t>(check)]; }

std::string to_string(const std::vector<Check>& checks) {
  std::string text;
  for (const Check check : checks) text += fmt::format("{}{}", text.empty() ? "" : "+", to_string(check));
  return text.empty() ? "none" : text;
}

std::string_view to_string(Fill fill) { return kFillNames[static_cast<std::size_t>(fill)]; }

std::string to_string(const DecaySpec& decay) {
  if (!decay.given.empty()) {
    Digest digest;
    for (const float slope : decay.given) digest.add(std::bit_cast<std::uint32_t>(slope));
    return fmt::format("slopes_{:016x}", digest.value());
  }
  if (!decay.slope) return "alibi";
  std::array<char, 32> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), *decay.slope).ptr;
  std::string text(digits.data(), end);
  std::erase(text, '+');  // 1e+10, where a name may not hold a +
  return text;
}

std::string documents_text(const std::vector<Index>& cu_seqlens) {
  return cu_seqlens.empty() ? "none" : joined(cu_seqlens, "+");
}

std::string Case::name() const {
  const bool has_decay = op == Operator::lightning || decay.slope;
  const std::string decay_part = has_decay ? fmt::format("-{}", to_string(decay)) : "";
  std::string extra_part;
  if (window > 0) extra_part += fmt::format("-w{}", window);
  if (!cu_seqlens.empty()) extra_part += fmt::format("-cu{}", name_of_documents(cu_seqlens));
  if (padding > 0) extra_part += fmt::format("-pad{}", padding);
  if (sample > 0) extra_part += fmt::format("-sample{}", sample);
  if (partials != DType::fp32) extra_part += fmt::format("-partials_{}", to_string(partials));
  return fmt::format("{}-{}-{}-{}-b{}-n{}-h{}-hk{}-d{}-e{}-dp{}-sp{}-{}{}-{}-seed{}{}", variant,
                     to_string(op), to_string(dtype), to_string(math), batch, seq, heads, kv_heads, head_dim,
                     value_dim, dp, sp, causal ? "causal" : "full", decay_part, to_string(fill), seed,
                     extra_part);
}

Problem Case::problem_of(Index batch_entries) const {
  Problem problem{.op = op,
                  .batch = batch_entries,
                  .heads = heads,
                  .kv_heads = kv_heads,
                  .seq = seq,
                  .head_dim = head_dim,
                  .value_dim = value_dim,
                  .causal = causal,
                  .scale = 1,
                  .slopes = {},
                  .window = window,
                  .cu_seqlens = cu_seqlens};
  if (padding > 0 && cu_seqlens.empty()) problem.cu_seqlens = {0, seq - padding};
  if (op == Operator::softmax) {
    problem.scale = default_scale(head_dim);
  } else if (!decay.given.empty()) {
    problem.slopes = decay.given;
  } else if (decay.slope) {
    problem.slopes.assign(static_cast<std::size_t>(heads), *decay.slope);
  } else {
    problem.slopes = alibi_slopes(heads);
  }
  return problem;
}

}  // namespace ringside
