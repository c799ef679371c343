#include "kernels/lightning_checks.h"

namespace ringside {
namespace {

/// `blocks` states for each query head.
Shape state_shape(const LightningChunk& chunk, Index blocks = 1) {
  const Shape& q = chunk.q.shape();
  return {q.batch, q.heads, blocks * q.dim, chunk.v.shape().dim};
}

/// The shape of o and dout.
Shape values_shape(const LightningChunk& chunk) {
  const Shape& q = chunk.q.shape();
  return {q.batch, q.heads, q.tokens, chunk.v.shape().dim};
}

void require_chunk(std::string_view operation, const LightningChunk& chunk) {
  require_attention(operation, chunk.q, chunk.k, chunk.v);
  require_pair(operation, chunk.q.shape().tokens == chunk.k.shape().tokens, "q", chunk.q, "k", chunk.k);
  require_slopes(operation, chunk.slopes, chunk.q.shape().heads);
  require_documents(operation, chunk.documents, chunk.q.shape().tokens);
}

/// Throws unless x has this shape and is stored in fp32 or in the chunk's dtype.
void require_result(std::string_view operation, std::string_view what, const Tensor& x, const Shape& expected,
                    const LightningChunk& chunk) {
  require_tensor(operation, what, x, expected, x.dtype() == DType::fp32 ? DType::fp32 : chunk.q.dtype());
}

void require_states(std::string_view operation, const LightningChunk& chunk, const BlockStates& states) {
  const TokenBlocks blocks = require_blocks(operation, chunk.q.shape().tokens, states.block);
  require_tensor(operation, "own", states.own, state_shape(chunk, blocks.count()), DType::fp32);
  require_tensor(operation, "incoming", states.incoming, state_shape(chunk), DType::fp32);
}

void require_gradients(std::string_view operation, const LightningChunk& chunk, const Tensor& dout,
                       const Tensor& dq, const Tensor& dk, const Tensor& dv) {
  require_tensor(operation, "dout", dout, values_shape(chunk), chunk.q.dtype());
  require_result(operation, "dq", dq, chunk.q.shape(), chunk);
  require_result(operation, "dk", dk, chunk.k.shape(), chunk);
  require_result(operation, "dv", dv, chunk.v.shape(), chunk);
}

}  // namespace

void require_lightning_forward(const LightningChunk& chunk, const Tensor& state, const Tensor& o) {
  require_chunk("lightning_forward", chunk);
  require_tensor("lightning_forward", "state", state, state_shape(chunk), DType::fp32);
  require_result("lightning_forward", "o", o, values_shape(chunk), chunk);
}

void require_lightning_forward_blocks(const LightningChunk& chunk, const BlockStates& states,
                                      const Tensor& o) {
  require_chunk("lightning_forward_blocks", chunk);
  require_states("lightning_forward_blocks", chunk, states);
  require_result("lightning_forward_blocks", "o", o, values_shape(chunk), chunk);
}

void require_lightning_backward(const LightningChunk& chunk, const Tensor& dout, const Tensor& state,
                                const Tensor& dstate, const Tensor& dq, const Tensor& dk, const Tensor& dv) {
  require_chunk("lightning_backward", chunk);
  require_tensor("lightning_backward", "state", state, state_shape(chunk), DType::fp32);
  require_tensor("lightning_backward", "dstate", dstate, state_shape(chunk), DType::fp32);
  require_gradients("lightning_backward", chunk, dout, dq, dk, dv);
}

void require_lightning_backward_blocks(const LightningChunk& chunk, const Tensor& dout,
                                       const BlockStates& states, const BlockStates& dstates,
                                       const Tensor& dq, const Tensor& dk, const Tensor& dv) {
  require_chunk("lightning_backward_blocks", chunk);
  require_states("lightning_backward_blocks", chunk, states);
  require_states("lightning_backward_blocks", chunk, dstates);
  require_gradients("lightning_backward_blocks", chunk, dout, dq, dk, dv);
}

TokenBlocks require_lightning_states(const Tensor& a, const Tensor& b, std::span<const float> slopes,
                                     const Documents& documents, Index block, const Tensor& states) {
  const Shape &as = a.shape(), &bs = b.shape();
  const Index heads = std::ssize(slopes);
  require_pair("lightning_states",
               a && b && a.dtype() == b.dtype() && as.batch == bs.batch && as.heads == bs.heads &&
                   as.tokens == bs.tokens && as.heads > 0 && heads % as.heads == 0,
               "a", a, "b", b);
  require_slopes("lightning_states", slopes, heads);
  require_documents("lightning_states", documents, as.tokens);
  const TokenBlocks blocks = require_blocks("lightning_states", as.tokens, block);
  require_tensor("lightning_states", "states", states, {as.batch, heads, blocks.count() * as.dim, bs.dim},
                 DType::fp32);
  return blocks;
}

}  // namespace ringside
