// Small steps that distributed algorithms have in common.
#pragma once

#include <algorithm>
#include <span>
#include <utility>

#include "distributed/variant.h"
#include "kernels/token_tiles.h"

namespace ringside {

/// The shape with another number of tokens.
inline Shape with_tokens(Shape shape, Index tokens) {
  shape.tokens = tokens;
  return shape;
}

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

/// The tokens that `rank` of `sp` holds in the contiguous layout.
inline Run held_run(const Problem& problem, int sp, int rank) {
  const Positions held = positions(Layout::contiguous, problem, sp, rank);
  return held.empty() ? Run{} : held.front();
}

/// How many tokens ranks [first, end) hold in it.
inline Index held_tokens(const Problem& problem, int sp, int first, int end) {
  Index tokens = 0;
  for (int rank = first; rank < end; ++rank) tokens += held_run(problem, sp, rank).count;
  return tokens;
}

/// The problem cut down to the tokens that `rank` of `sp` holds: its shapes are those of the rank's tensors.
inline Problem held_problem(Problem problem, Layout layout, int sp, int rank) {
  problem.seq = count(positions(layout, problem, sp, rank));
  return problem;
}

/// Where documents begin and end in these tokens of a problem, of stride 1, in local tokens.
inline Documents documents_of(const Problem& problem, const Run& tokens) {
  Documents local;
  const std::vector<Index>& bounds = problem.cu_seqlens;
  if (bounds.empty()) return local;
  for (const Index start : std::span(bounds).first(bounds.size() - 1)) {
    if (start >= tokens.start && start < tokens.position(tokens.count))
      local.starts.push_back(start - tokens.start);
  }
  local.end = std::max<Index>(0, bounds.back() - tokens.start);
  return local;
}

/// Those of held_run().
inline Documents held_documents(const Problem& problem, int sp, int rank) {
  return documents_of(problem, held_run(problem, sp, rank));
}

/// Lightning attention of a rank's own tokens, in the contiguous layout.
inline LightningChunk own_chunk(const Context& context, const Inputs& in) {
  return {in.q, in.k, in.v, context.problem.slopes,
          held_documents(context.problem, context.comm.size(), context.comm.rank())};
}

/// Elements of k and v, or of dk and dv.
inline Index kv_size(const Problem& p) { return p.k_shape().size() + p.v_shape().size(); }

/// Elements of q, k and v, or of their gradients.
inline Index qkv_size(const Problem& p) { return p.q_shape().size() + kv_size(p); }

/// Variant::unsupported of an algorithm that runs everything.
inline std::optional<std::string> serves_all(const Problem&, int) { return std::nullopt; }

/// The problem must outlive the mask.
inline Mask mask_of(const Problem& problem) { return {problem.causal, problem.window, problem.cu_seqlens}; }

/// What queries see of keys, by the problem's mask; the problem must outlive the block.
inline SoftmaxBlock softmax_block(const Problem& problem, const Tensor& q, const Tensor& k, const Tensor& v,
                                  Positions q_positions, Positions k_positions) {
  return {.q = q,
          .k = k,
          .v = v,
          .q_positions = std::move(q_positions),
          .k_positions = std::move(k_positions),
          .mask = mask_of(problem),
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

/// Rows of x (q's, or k's and v's spread over the query heads) times their decay, in fp32.
inline Tensor decayed(const Context& context, const Tensor& x, Decay decay) {
  const Shape& s = x.shape();
  const Tensor y = context.device.allocate({s.batch, context.problem.heads, s.tokens, s.dim}, DType::fp32);
  context.device.decay_rows(x, context.problem.slopes, decay, y);
  return y;
}

/// Uninitialised gradients of the inputs, in their shapes and dtype.
inline Gradients gradients_like(Device& device, const Inputs& in) {
  const DType dtype = in.q.dtype();
  return {device.allocate(in.q.shape(), dtype), device.allocate(in.k.shape(), dtype),
          device.allocate(in.v.shape(), dtype)};
}

}  // namespace ringside
