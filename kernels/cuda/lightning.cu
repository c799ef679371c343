// Lightning attention on GPUs: outputs and states.
#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/launcher.h"
#include "kernels/gpu/lightning.h"
#include "kernels/lightning_checks.h"

namespace ringside {

void CudaDevice::lightning_forward(const LightningChunk& chunk, const Tensor& state, const Tensor& o) {
  require_lightning_forward(chunk, state, o);
  auto on = launcher();
  gpu_lightning_forward(on, chunk, options_.math, state, o);
}

void CudaDevice::lightning_states(const Tensor& a, const Tensor& b, std::span<const float> slopes,
                                  const Documents& documents, Index block, Toward toward,
                                  const Tensor& states) {
  const TokenBlocks cut = require_lightning_states(a, b, slopes, documents, block, states);
  auto on = launcher();
  gpu_lightning_states(on, a, b, slopes, documents, options_.math, cut, toward, states);
}

void CudaDevice::lightning_forward_blocks(const LightningChunk& chunk, const BlockStates& states,
                                          const Tensor& o) {
  require_lightning_forward_blocks(chunk, states, o);
  auto on = launcher();
  gpu_lightning_forward_blocks(on, chunk, options_.math, states, o);
}

}  // namespace ringside
