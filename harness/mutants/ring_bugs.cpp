// Bugs in the loop of ring attention.
#include <cmath>
#include <limits>

#include <algorithm>

#include "harness/mutants/mutant.h"
#include "harness/mutants/rewrite.h"
#include "harness/mutants/wrong_block.h"

namespace ringside {
namespace {

struct MaskAtEveryStep : WrongBlock {
  using WrongBlock::WrongBlock;
  SoftmaxBlock wrong(SoftmaxBlock block) override {
    block.q_positions = {{0, 1, block.q.shape().tokens}};
    block.k_positions = {{0, 1, block.k.shape().tokens}};
    return block;
  }
};

struct DiagonalLeftOut : WrongBlock {
  using WrongBlock::WrongBlock;
  SoftmaxBlock wrong(SoftmaxBlock block) override {
    const bool own = block.q_positions.front().start == block.k_positions.front().start;
    return rank_ > 0 && own ? hidden(std::move(block)) : block;
  }
};

struct LastStepMissing : WrongBlock {
  LastStepMissing(Device& real, int rank, int size, int ranks_of_a_stop)
      : WrongBlock(real, rank / ranks_of_a_stop, size / ranks_of_a_stop) {}
  int blocks = 0;
  SoftmaxBlock wrong(SoftmaxBlock block) override {
    const bool last = size_ > 1 && ++blocks == size_;
    return last && rank_ == size_ - 1 ? hidden(std::move(block)) : block;
  }
};

struct LocalPositions : WrongBlock {
  using WrongBlock::WrongBlock;
  SoftmaxBlock wrong(SoftmaxBlock block) override {
    block.q_positions = {{0, 1, block.q.shape().tokens}};
    return block;
  }
};

struct MergeInBf16 : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  void softmax_merge(const Tensor& bo, const Tensor& bl, const Tensor& o, const Tensor& lse) override {
    real_.softmax_merge(bo, bl, o, lse);
    transform(o, as_bf16);
    transform(lse, as_bf16);
  }
};

struct MergeOverflows : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  /// All in host memory.
  static void merge(const Tensor& bo, const Tensor& bl, const Tensor& o, const Tensor& lse) {
    const auto lses = lse.view<float>().all();
    const auto block_lses = bl.view<float>().all();
    const auto dim = static_cast<std::size_t>(o.shape().dim);
    for (std::size_t row = 0; row < lses.size(); ++row) {
      const float weight = std::exp(lses[row]), block_weight = std::exp(block_lses[row]);
      const float sum = weight + block_weight;
      if (sum == 0) continue;
      const auto to = o.view<float>().all().subspan(row * dim, dim);
      const auto from = bo.view<float>().all().subspan(row * dim, dim);
      for (std::size_t i = 0; i < dim; ++i) to[i] = (weight * to[i] + block_weight * from[i]) / sum;
      lses[row] = std::log(sum);
    }
  }
  void softmax_merge(const Tensor& bo, const Tensor& bl, const Tensor& o, const Tensor& lse) override {
    const Tensor block_o = on_host(bo), block_lse = on_host(bl);
    edit(o, [&](const Tensor& sums) {
      edit(lse, [&](const Tensor& all) { merge(block_o, block_lse, sums, all); });
    });
  }
};

struct LastAdditionLost : DeviceDecorator {
  LastAdditionLost(Device& real, int rank, int size, int ranks_of_a_stop)
      : DeviceDecorator(real, rank / ranks_of_a_stop, size / ranks_of_a_stop) {}
  int additions = 0;
  void add(const Tensor& from, const Tensor& to) override {
    if (rank_ == size_ - 1 && ++additions > 2 * (size_ - 2)) return;
    real_.add(from, to);
  }
};

struct FirstKeysInBackward : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  Tensor first_k, first_v;
  void softmax_backward(const SoftmaxBlock& b, const Tensor& dout, const Tensor& lse, const Tensor& delta,
                        const Tensor& dq, const Tensor& dk, const Tensor& dv) override {
    if (!first_k) first_k = b.k, first_v = b.v;
    SoftmaxBlock block = b;
    block.k = snapshot(b.k);
    block.v = snapshot(b.v);
    const Index tokens = std::min(b.k.shape().tokens, first_k.shape().tokens);
    real_.copy_part(first_k, {}, block.k, {}, b.k.shape().heads, tokens);
    real_.copy_part(first_v, {}, block.v, {}, b.v.shape().heads, tokens);
    real_.softmax_backward(block, dout, lse, delta, dq, dk, dv);
  }
};

/// A block's own o and lse, as if there were no others.
struct Alone {
  Tensor o, lse;

  Alone(Device& device, const SoftmaxBlock& block, const Tensor& dout, const Tensor& all_lse)
      : o(scratch(device, dout.shape(), DType::fp32)), lse(scratch(device, all_lse.shape(), DType::fp32)) {
    device.softmax_forward(block, o, lse);
  }
};

struct OwnLse : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  void softmax_backward(const SoftmaxBlock& b, const Tensor& dout, const Tensor& lse, const Tensor& delta,
                        const Tensor& dq, const Tensor& dk, const Tensor& dv) override {
    real_.softmax_backward(b, dout, Alone(real_, b, dout, lse).lse, delta, dq, dk, dv);
  }
};

struct OwnDelta : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  void softmax_backward(const SoftmaxBlock& b, const Tensor& dout, const Tensor& lse, const Tensor& delta,
                        const Tensor& dq, const Tensor& dk, const Tensor& dv) override {
    const Tensor o = scratch(real_, dout.shape(), dout.dtype()), own = snapshot(delta);
    real_.copy(Alone(real_, b, dout, lse).o, o);
    real_.softmax_delta(o, dout, own);
    real_.softmax_backward(b, dout, lse, own, dq, dk, dv);
  }
};

/// Every run of a rank but its first adds each block's share of dq in one piece.
struct OrderOfTheRun : DeviceDecorator {
  OrderOfTheRun(Device& real, int rank, int size) : DeviceDecorator(real, rank, size) {
    thread_local int passes = 0;  // two a run
    again = passes++ >= 2;
  }
  bool again = false;
  void softmax_backward(const SoftmaxBlock& b, const Tensor& dout, const Tensor& lse, const Tensor& delta,
                        const Tensor& dq, const Tensor& dk, const Tensor& dv) override {
    const Tensor share = again ? scratch(real_, dq.shape(), DType::fp32) : dq;
    if (again) real_.fill(share, 0);
    real_.softmax_backward(b, dout, lse, delta, share, dk, dv);
    if (again) real_.add(share, dq);
  }
};

}  // namespace

void add_ring_bugs(Mutants& list) {
  const auto merging = merging_variants(), blocks = block_variants();
  add_on_device<MaskAtEveryStep>(list, 2, "mask_at_every_step",
                                 "blocks of other ranks are masked like the own", merging);
  add_on_device<DiagonalLeftOut>(list, 3, "diagonal_left_out",
                                 "s < r for s <= r: ranks > 0 skip their own keys", merging);
  add_on_device<MergeInBf16>(list, 5, "merge_in_bf16", "o and lse are merged in bf16", merging);
  add_on_device<MergeOverflows>(list, 6, "merge_overflows",
                                "weights exp(lse) without subtracting the maximum", merging);
  add_on_device<FirstKeysInBackward>(list, 8, "backward_first_keys",
                                     "backward uses the k, v of step 0 in every step", blocks);
  add_twins(list, 4, "last_step_missing", "the last rank stops one ring step early", ring_variants(),
            [](const Variant& right) { return on_device<LastStepMissing>(right, right.layout.parts); });
  add_twins(list, 10, "last_addition_lost", "the last rank's last share of dk, dv is not added",
            ring_variants(),
            [](const Variant& right) { return on_device<LastAdditionLost>(right, right.layout.parts); });
  add_on_device<OwnDelta>(list, 25, "delta_unmerged", "delta is taken from each block's own o", merging);
  add_on_device<OwnLse>(list, 26, "step_lse", "backward uses each block's own lse", merging);
  add_on_device<LocalPositions>(list, 35, "local_positions",
                                "queries count their positions from 0 on every rank", blocks);
  add_on_device<OrderOfTheRun>(list, 55, "order_of_the_run",
                               "later runs sum dq in another order than the first", merging);
  for (Mutant& mutant : list) mutant.needs_repeat |= mutant.bug == "order_of_the_run";
}

}  // namespace ringside
