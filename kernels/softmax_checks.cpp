#include "kernels/softmax_checks.h"

#include "kernels/checks.h"

namespace ringside {
namespace {

void require_block(std::string_view operation, const SoftmaxBlock& block) {
  require_attention(operation, block.q, block.k, block.v);
  require_positions(operation, "q_positions", block.q_positions, block.q);
  require_positions(operation, "k_positions", block.k_positions, block.k);
}

/// q's rows with another dim.
Shape with_dim(const SoftmaxBlock& block, Index dim) {
  Shape shape = block.q.shape();
  shape.dim = dim;
  return shape;
}

}  // namespace

void require_softmax_forward(const SoftmaxBlock& block, const Tensor& o, const Tensor& lse) {
  require_block("softmax_forward", block);
  require_tensor("softmax_forward", "o", o, with_dim(block, block.v.shape().dim), DType::fp32);
  require_tensor("softmax_forward", "lse", lse, with_dim(block, 1), DType::fp32);
}

void require_softmax_backward(const SoftmaxBlock& block, const Tensor& dout, const Tensor& lse,
                              const Tensor& delta, const Tensor& dq, const Tensor& dk, const Tensor& dv) {
  require_block("softmax_backward", block);
  require_tensor("softmax_backward", "dout", dout, with_dim(block, block.v.shape().dim), block.q.dtype());
  require_tensor("softmax_backward", "lse", lse, with_dim(block, 1), DType::fp32);
  require_tensor("softmax_backward", "delta", delta, with_dim(block, 1), DType::fp32);
  require_tensor("softmax_backward", "dq", dq, block.q.shape(), DType::fp32);
  require_tensor("softmax_backward", "dk", dk, block.k.shape(), DType::fp32);
  require_tensor("softmax_backward", "dv", dv, block.v.shape(), DType::fp32);
}

}  // namespace ringside
