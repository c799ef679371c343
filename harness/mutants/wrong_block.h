// The base of bugs in what a block of softmax attention sees.
#pragma once

#include "harness/device_decorator.h"

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

}  // namespace ringside
