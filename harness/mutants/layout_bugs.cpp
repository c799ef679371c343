// Bugs in who holds which token.
#include <map>
#include <memory>
#include <mutex>

#include "harness/mutants/mutant.h"
#include "harness/mutants/rewrite.h"
#include "harness/mutants/wrong_block.h"

namespace ringside {
namespace {

struct ZigzagIndex : WrongBlock {
  using WrongBlock::WrongBlock;
  SoftmaxBlock wrong(SoftmaxBlock block) override {
    Run& later = block.q_positions.back();
    if (block.q_positions.size() == 2) later.start += later.count;
    return block;
  }
};

struct MergeIntoOtherHalf : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  int merges = 0;
  void softmax_merge(const Tensor& bo, const Tensor& bl, const Tensor& o, const Tensor& lse) override {
    if (merges++ > 0) {
      roll_tokens(bo, o.shape().tokens / 2);
      roll_tokens(bl, o.shape().tokens / 2);
    }
    real_.softmax_merge(bo, bl, o, lse);
  }
};

struct DqIntoOtherHalf : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  int blocks = 0;
  void softmax_backward(const SoftmaxBlock& b, const Tensor& dout, const Tensor& lse, const Tensor& delta,
                        const Tensor& dq, const Tensor& dk, const Tensor& dv) override {
    const Tensor share = scratch(real_, dq.shape(), DType::fp32);
    real_.fill(share, 0);
    real_.softmax_backward(b, dout, lse, delta, share, dk, dv);
    if (blocks++ > 0) roll_tokens(share, dq.shape().tokens / 2);
    real_.add(share, dq);
  }
};

struct StripesNotShifted : WrongBlock {
  using WrongBlock::WrongBlock;
  SoftmaxBlock wrong(SoftmaxBlock block) override {
    for (Positions* positions : {&block.q_positions, &block.k_positions}) {
      for (Run& run : *positions) run.start = 0;
    }
    return block;
  }
};

struct LseOffByOne : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  void softmax_backward(const SoftmaxBlock& b, const Tensor& dout, const Tensor& lse, const Tensor& delta,
                        const Tensor& dq, const Tensor& dk, const Tensor& dv) override {
    const Tensor shifted = snapshot(lse);
    roll_tokens(shifted, 1);
    real_.softmax_backward(b, dout, shifted, delta, dq, dk, dv);
  }
};

/// Positions and bounds of documents, by rank and queries of a block.
struct Cache {
  struct Entry {
    Positions positions;
    std::vector<Index> bounds;
  };
  std::mutex mutex;
  std::map<std::pair<int, Index>, Entry> entries;
};

/// Those of the first case with as many queries, in every later one.
struct CachedBoundaries : WrongBlock {
  CachedBoundaries(Device& real, int rank, int size, std::shared_ptr<Cache> cache)
      : WrongBlock(real, rank, size), cache_(std::move(cache)) {}
  SoftmaxBlock wrong(SoftmaxBlock block) override {
    const auto& bounds = block.mask.cu_seqlens;
    const Cache::Entry now = {block.q_positions, {bounds.begin(), bounds.end()}};
    const std::lock_guard lock(cache_->mutex);
    const Cache::Entry& first =
        cache_->entries.try_emplace({rank_, block.q.shape().tokens}, now).first->second;
    block.q_positions = first.positions;
    block.mask.cu_seqlens = first.bounds;
    return block;
  }

 private:
  std::shared_ptr<Cache> cache_;
};

struct MaskedRowIsNan : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  void softmax_forward(const SoftmaxBlock& b, const Tensor& o, const Tensor& lse) override {
    real_.softmax_forward(b, o, lse);
    const Tensor lses_on_host = on_host(lse);
    edit(o, [&](const Tensor& host) {
      const auto lses = lses_on_host.view<float>().all();
      const auto values = host.view<float>().all();
      const auto dim = static_cast<std::size_t>(o.shape().dim);
      for (std::size_t row = 0; row < lses.size(); ++row) {
        if (std::isinf(lses[row])) std::ranges::fill(values.subspan(row * dim, dim), std::nanf(""));
      }
    });
  }
};

}  // namespace

void add_layout_bugs(Mutants& list) {
  const auto zigzag = layout_variants(Layout::Order::zigzag);
  const auto striped = layout_variants(Layout::Order::striped);
  const auto all = softmax_variants();
  add_on_device<ZigzagIndex>(list, 12, "zigzag_index",
                             "queries of the second half are placed at chunk 2P-r, not 2P-1-r", zigzag);
  add_on_device<MergeIntoOtherHalf>(list, 13, "zigzag_merge_half",
                                    "later blocks are merged into the other half", zigzag);
  add_on_device<DqIntoOtherHalf>(list, 14, "zigzag_dq_half", "later blocks' dq is added to the other half",
                                 zigzag);
  add_on_device<StripesNotShifted>(list, 15, "stripes_not_shifted",
                                   "the mask ignores that stripes begin one token apart", striped);
  add_on_device<LseOffByOne>(list, 16, "lse_off_by_one", "backward takes each row's lse from the next row",
                             all);
  for (const Variant* variant : all) {
    list.push_back({30, "cached_boundaries",
                    "positions and documents are cached by local shape: later cases get the first one's",
                    on_device<CachedBoundaries>(*variant, std::make_shared<Cache>())});
  }
  add_on_device<MaskedRowIsNan>(list, 31, "masked_row_nan", "rows that see none of a block's keys become NaN",
                                all);
}

}  // namespace ringside
