// Argument checks of softmax attention, the same for every device.
#pragma once

#include "kernels/device.h"

namespace ringside {

/// Of Device::softmax_forward().
void require_softmax_forward(const SoftmaxBlock& block, const Tensor& o, const Tensor& lse);
/// Of Device::softmax_backward().
void require_softmax_backward(const SoftmaxBlock& block, const Tensor& dout, const Tensor& lse,
                              const Tensor& delta, const Tensor& dq, const Tensor& dk, const Tensor& dv);

}  // namespace ringside
