// Base of planted bugs in one block of softmax attention.
#pragma once

#include "harness/run/device_decorator.h"

namespace ringside {

/// Changes a block before it is computed, in both passes.
struct WrongBlock : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  virtual SoftmaxBlock wrong(SoftmaxBlock block) = 0;

  void softmax_forward(const SoftmaxBlock& b, const Tensor& o, const Tensor& lse) override {
    real_.softmax_forward(wrong(b), o, lse);
  }
  void softmax_backward(const SoftmaxBlock& b, const Tensor& dout, const Tensor& lse, const Tensor& delta,
                        const Tensor& dq, const Tensor& dk, const Tensor& dv) override {
    real_.softmax_backward(wrong(b), dout, lse, delta, dq, dk, dv);
  }

  /// The block as if all its keys lay in the future.
  static SoftmaxBlock hidden(SoftmaxBlock block) {
    block.mask = {};
    for (Run& run : block.k_positions) run.start += Index{1} << 40;
    return block;
  }
};

/// Zigzag's rule of a plain ring: keys of steps 1 to r come from lower ranks, so that their first half is
/// seen by all queries; later ones from higher ranks, all seen by the second half of the queries.
struct MaskByStep : WrongBlock {
  using WrongBlock::WrongBlock;
  int step = 0;
  SoftmaxBlock wrong(SoftmaxBlock block) override {
    constexpr Index kFar = Index{1} << 40;
    const bool own = step == 0, lower = step <= rank_;
    step = (step + 1) % size_;
    Positions &q = block.q_positions, &k = block.k_positions;
    if (!block.mask.causal || own || q.size() != 2 || k.size() != 2) return block;
    if (lower) {  // all queries see the first half of the keys, none the second
      for (Run& run : q) run.start += kFar;
      k.back().start = 2 * kFar;
    } else {
      q.front().start = -kFar;
      q.back().start = kFar;
    }
    return block;
  }
};

}  // namespace ringside
