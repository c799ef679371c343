// Argument checks of fused linear attention, the same for every device.
#pragma once

#include "kernels/checks.h"

namespace ringside {

// Of the operations of Device with these names.
void require_lightning_forward(const LightningChunk& chunk, const Tensor& state, const Tensor& o);
void require_lightning_forward_blocks(const LightningChunk& chunk, const BlockStates& states,
                                      const Tensor& o);
void require_lightning_backward(const LightningChunk& chunk, const Tensor& dout, const Tensor& state,
                                const Tensor& dstate, const Tensor& dq, const Tensor& dk, const Tensor& dv);
void require_lightning_backward_blocks(const LightningChunk& chunk, const Tensor& dout,
                                       const BlockStates& states, const BlockStates& dstates,
                                       const Tensor& dq, const Tensor& dk, const Tensor& dv);
TokenBlocks require_lightning_states(const Tensor& a, const Tensor& b, std::span<const float> slopes,
                                     const Documents& documents, Index block, const Tensor& states);

}  // namespace ringside
