#include "kernels/gpu/lightning.h"

#include "kernels/emulated/emulated_device.h"
#include "kernels/lightning_checks.h"
#include "reference/denormals.h"

namespace ringside {

void EmulatedDevice::lightning_forward(const LightningChunk& chunk, const Tensor& state, const Tensor& o) {
  require_lightning_forward(chunk, state, o);
  const DenormalMode guard(DenormalMode::flush);
  gpu_lightning_forward(launcher_, chunk, options_.math, state, o);
}

void EmulatedDevice::lightning_backward(const LightningChunk& chunk, const Tensor& dout, const Tensor& state,
                                        const Tensor& dstate, const Tensor& dq, const Tensor& dk,
                                        const Tensor& dv) {
  require_lightning_backward(chunk, dout, state, dstate, dq, dk, dv);
  const DenormalMode guard(DenormalMode::flush);
  gpu_lightning_backward(launcher_, chunk, options_.math, dout, state, dstate, dq, dk, dv);
}

void EmulatedDevice::lightning_states(const Tensor& a, const Tensor& b, std::span<const float> slopes,
                                      const Documents& documents, Index block, Toward toward,
                                      const Tensor& states) {
  const TokenBlocks cut = require_lightning_states(a, b, slopes, documents, block, states);
  const DenormalMode guard(DenormalMode::flush);
  gpu_lightning_states(launcher_, a, b, slopes, documents, options_.math, cut, toward, states);
}

void EmulatedDevice::lightning_forward_blocks(const LightningChunk& chunk, const BlockStates& states,
                                              const Tensor& o) {
  require_lightning_forward_blocks(chunk, states, o);
  const DenormalMode guard(DenormalMode::flush);
  gpu_lightning_forward_blocks(launcher_, chunk, options_.math, states, o);
}

void EmulatedDevice::lightning_backward_blocks(const LightningChunk& chunk, const Tensor& dout,
                                               const BlockStates& states, const BlockStates& dstates,
                                               const Tensor& dq, const Tensor& dk, const Tensor& dv) {
  require_lightning_backward_blocks(chunk, dout, states, dstates, dq, dk, dv);
  const DenormalMode guard(DenormalMode::flush);
  gpu_lightning_backward_blocks(launcher_, chunk, options_.math, dout, states, dstates, dq, dk, dv);
}

}  // namespace ringside
