// Softmax attention on GPUs: gradients.
#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/launcher.h"
#include "kernels/gpu/softmax.h"
#include "kernels/softmax_checks.h"

namespace ringside {

void CudaDevice::softmax_backward(const SoftmaxBlock& block, const Tensor& dout, const Tensor& lse,
                                  const Tensor& delta, const Tensor& dq, const Tensor& dk, const Tensor& dv) {
  require_softmax_backward(block, dout, lse, delta, dq, dk, dv);
  auto on = launcher();
  gpu_softmax_backward(on, block, options_.math, dout, lse, delta, dq, dk, dv);
}

}  // namespace ringside
