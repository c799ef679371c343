#include "kernels/gpu/softmax.h"

#include "kernels/emulated/emulated_device.h"
#include "kernels/softmax_checks.h"
#include "reference/denormals.h"

namespace ringside {

void EmulatedDevice::softmax_forward(const SoftmaxBlock& block, const Tensor& o, const Tensor& lse) {
  require_softmax_forward(block, o, lse);
  const DenormalMode guard(DenormalMode::flush);
  gpu_softmax_forward(launcher_, block, options_.math, o, lse);
}

void EmulatedDevice::softmax_backward(const SoftmaxBlock& block, const Tensor& dout, const Tensor& lse,
                                      const Tensor& delta, const Tensor& dq, const Tensor& dk,
                                      const Tensor& dv) {
  require_softmax_backward(block, dout, lse, delta, dq, dk, dv);
  const DenormalMode guard(DenormalMode::flush);
  gpu_softmax_backward(launcher_, block, options_.math, dout, lse, delta, dq, dk, dv);
}

}  // namespace ringside
