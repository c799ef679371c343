// Softmax attention on GPUs: outputs.
#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/launcher.h"
#include "kernels/gpu/softmax.h"
#include "kernels/softmax_checks.h"

namespace ringside {

void CudaDevice::softmax_forward(const SoftmaxBlock& block, const Tensor& o, const Tensor& lse) {
  require_softmax_forward(block, o, lse);
  auto on = launcher();
  gpu_softmax_forward(on, block, options_.math, o, lse);
}

}  // namespace ringside
