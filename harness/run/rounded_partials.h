// Rings as they are on kernels whose outputs have 16 bits: each block's results are rounded.
#pragma once

#include "distributed/variants/block.h"
#include "harness/run/device_decorator.h"

namespace ringside {

/// Rounds what a block gives to `dtype` (Case::partials) before it is merged or summed in fp32.
class RoundedPartials final : public DeviceDecorator {
 public:
  RoundedPartials(Device& real, int rank, int size, DType dtype)
      : DeviceDecorator(real, rank, size), dtype_(dtype) {}

  void softmax_forward(const SoftmaxBlock& block, const Tensor& o, const Tensor& lse) override {
    real_.softmax_forward(block, o, lse);
    real_.copy(partial(o), o);
  }
  void softmax_backward(const SoftmaxBlock& block, const Tensor& dout, const Tensor& lse, const Tensor& delta,
                        const Tensor& dq, const Tensor& dk, const Tensor& dv) override {
    const Tensor block_dq = zeros(real_, dq.shape()), block_dk = zeros(real_, dk.shape());
    const Tensor block_dv = zeros(real_, dv.shape());
    real_.softmax_backward(block, dout, lse, delta, block_dq, block_dk, block_dv);
    real_.add(rounded(real_, partial(block_dq), DType::fp32), dq);
    real_.add(rounded(real_, partial(block_dk), DType::fp32), dk);
    real_.add(rounded(real_, partial(block_dv), DType::fp32), dv);
  }

 private:
  /// x in `dtype`.
  Tensor partial(const Tensor& x) { return rounded(real_, x, dtype_); }

  DType dtype_;
};

}  // namespace ringside
