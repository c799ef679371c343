// Lightning attention on GPUs: gradients.
#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/launcher.h"
#include "kernels/gpu/lightning.h"
#include "kernels/lightning_checks.h"

namespace ringside {

void CudaDevice::lightning_backward(const LightningChunk& chunk, const Tensor& dout, const Tensor& state,
                                    const Tensor& dstate, const Tensor& dq, const Tensor& dk,
                                    const Tensor& dv) {
  require_lightning_backward(chunk, dout, state, dstate, dq, dk, dv);
  auto on = launcher();
  gpu_lightning_backward(on, chunk, options_.math, dout, state, dstate, dq, dk, dv);
}

void CudaDevice::lightning_backward_blocks(const LightningChunk& chunk, const Tensor& dout,
                                           const BlockStates& states, const BlockStates& dstates,
                                           const Tensor& dq, const Tensor& dk, const Tensor& dv) {
  require_lightning_backward_blocks(chunk, dout, states, dstates, dq, dk, dv);
  auto on = launcher();
  gpu_lightning_backward_blocks(on, chunk, options_.math, dout, states, dstates, dq, dk, dv);
}

}  // namespace ringside
