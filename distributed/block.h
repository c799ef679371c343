// Small steps that distributed algorithms have in common.
#pragma once

#include <utility>

#include "distributed/variant.h"
#include "kernels/mask.h"

namespace ringside {

/// A new tensor filled with `value`.
inline Tensor filled(Device& device, const Shape& shape, DType dtype, float value) {
  Tensor x = device.allocate(shape, dtype);
  device.fill(x, value);
  return x;
}

inline Tensor zeros(Device& device, const Shape& shape) { return filled(device, shape, DType::fp32, 0); }

/// `x` rounded to `dtype`: a new tensor, or x itself if it has that dtype.
inline Tensor rounded(Device& device, const Tensor& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  Tensor y = device.allocate(x.shape(), dtype);
  device.copy(x, y);
  return y;
}

inline Gradients rounded(Device& device, const Gradients& sums, DType dtype) {
  return {rounded(device, sums.dq, dtype), rounded(device, sums.dk, dtype), rounded(device, sums.dv, dtype)};
}

inline Index bytes(Index elements, DType dtype) { return elements * static_cast<Index>(size_of(dtype)); }

/// What rounded() allocates.
inline Index rounding_bytes(Index elements, DType dtype) {
  return dtype == DType::fp32 ? 0 : bytes(elements, dtype);
}

/// The problem cut down to the tokens that `rank` of `sp` holds: its shapes are those of the rank's tensors.
inline Problem held_problem(Problem problem, Layout layout, int sp, int rank) {
  problem.seq = count(positions(layout, problem, sp, rank));
  return problem;
}

/// Elements of k and v, or of dk and dv.
inline Index kv_size(const Problem& p) { return p.k_shape().size() + p.v_shape().size(); }

/// Elements of q, k and v, or of their gradients.
inline Index qkv_size(const Problem& p) { return p.q_shape().size() + kv_size(p); }

/// Variant::unsupported of an algorithm that runs everything.
inline std::optional<std::string> serves_all(const Problem&, int) { return std::nullopt; }

/// What queries see of keys, by the problem's mask; the problem must outlive the block.
inline SoftmaxBlock softmax_block(const Problem& problem, const Tensor& q, const Tensor& k, const Tensor& v,
                                  Positions q_positions, Positions k_positions) {
  return {.q = q,
          .k = k,
          .v = v,
          .q_positions = std::move(q_positions),
          .k_positions = std::move(k_positions),
          .mask = {problem.causal, problem.window, problem.cu_seqlens},
          .scale = problem.scale};
}

/// True if no query of the block sees a key.
inline bool sees_nothing(const SoftmaxBlock& block) {
  return fully_masked(block.q_positions, block.k_positions, block.mask);
}

/// Local shape of o and do: [b, h, c, e].
inline Shape o_shape(const Inputs& in) {
  return {in.q.shape().batch, in.q.shape().heads, in.q.shape().tokens, in.v.shape().dim};
}

/// Lightning attention's state: [b, h, d, e], one a query head.
inline Shape state_shape(const Inputs& in) {
  return {in.q.shape().batch, in.q.shape().heads, in.q.shape().dim, in.v.shape().dim};
}

inline Shape state_shape(const Problem& p) { return {p.batch, p.heads, p.head_dim, p.value_dim}; }

/// Bytes of a state, which is fp32 whatever the dtype.
inline Index state_bytes(const Problem& p) { return 4 * state_shape(p).size(); }

/// Uninitialised gradients of the inputs, in their shapes and dtype.
inline Gradients gradients_like(Device& device, const Inputs& in) {
  const DType dtype = in.q.dtype();
  return {device.allocate(in.q.shape(), dtype), device.allocate(in.k.shape(), dtype),
          device.allocate(in.v.shape(), dtype)};
}

}  // namespace ringside
