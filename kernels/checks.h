// The argument checks of devices' operations; all throw std::invalid_argument.
#pragma once

#include <algorithm>
#include <string_view>

#include "kernels/device.h"

namespace ringside {

/// Throws unless `x`, called `what` in the message, has this shape.
void require_shape(std::string_view operation, std::string_view what, const Tensor& x, const Shape& expected);
/// Throws unless `x` has this shape and is stored in `dtype`.
void require_tensor(std::string_view operation, std::string_view what, const Tensor& x, const Shape& expected,
                    DType dtype);
/// Throws with both shapes unless `ok`.
void require_pair(std::string_view operation, bool ok, std::string_view a_name, const Tensor& a,
                  std::string_view b_name, const Tensor& b);
/// Throws unless q: [b, h, n, d], k: [b, h_kv, m, d], v: [b, h_kv, m, e] of one dtype with h % h_kv = 0.
void require_attention(std::string_view operation, const Tensor& q, const Tensor& k, const Tensor& v);
/// Throws unless the runs have positive strides and cover exactly the tensor's tokens.
void require_positions(std::string_view operation, std::string_view what, const Positions& positions,
                       const Tensor& x);
/// Throws unless the documents' starts increase strictly from 0 or later on, before `tokens` and the padding.
void require_documents(std::string_view operation, const Documents& documents, Index tokens);
/// Throws unless there is one slope >= 0 for each of `heads`.
void require_slopes(std::string_view operation, std::span<const float> slopes, Index heads);
/// Throws unless no extent is negative.
void require_extents(std::string_view operation, const Shape& shape);
/// Throws unless the tensor has as many bytes as the host memory.
void require_bytes(std::string_view operation, std::size_t host, const Tensor& x);

/// For destructors of devices: ends the process if tensors are left of a device that goes, `live` bytes in
/// all. Not while an exception passes: a run that is lost keeps what may still be written to.
void require_none_left(std::size_t live) noexcept;

/// What of a span there is among `tokens`.
inline TokenSpan clip(TokenSpan span, Index tokens) {
  return {std::min(span.first, tokens), std::min(span.end, tokens)};
}

/// The blocks that a chunk is cut into: at least one, if only an empty one.
struct TokenBlocks {
  Index tokens = 0, block = 0;

  Index count() const { return std::max<Index>(1, (tokens + block - 1) / block); }
  TokenSpan span(Index i) const { return {i * block, std::min(tokens, (i + 1) * block)}; }
  /// The tokens between a state's entry into the chunk and its entry into block i.
  TokenSpan on_the_way_to(Index i, Toward toward) const {
    return toward == Toward::end ? TokenSpan{0, span(i).first} : TokenSpan{span(i).end, tokens};
  }
};
/// Throws unless blocks have tokens.
TokenBlocks require_blocks(std::string_view operation, Index tokens, Index block);

/// The extents of a product that take part: rows of op(a) and c, columns of op(a) with the rows of op(b),
/// columns of op(b) and c.
struct ProductSpans {
  TokenSpan rows, depth, cols;
};

// Of one operation each: they throw unless its arguments are as device.h says.
void require_add(const Tensor& from, const Tensor& to);
void require_parts(const Tensor& from, Corner from_at, const Tensor& to, Corner to_at, Index heads,
                   Index tokens);
void require_head_sums(const Tensor& from, const Tensor& to);
void require_merge(const Tensor& block_o, const Tensor& block_lse, const Tensor& o, const Tensor& lse);
void require_delta(const Tensor& o, const Tensor& dout, const Tensor& delta);
TokenBlocks require_scan(const Tensor& states, std::span<const float> slopes, const Documents& documents,
                         Index tokens, Index block, const Tensor& total);
ProductSpans require_product(const Tensor& a, Transpose ta, const Tensor& b, Transpose tb, const Tensor& c,
                             Causal causal, TokenSpan tokens);
void require_scores(const Tensor& scores, std::span<const float> slopes);
void require_decay_rows(const Tensor& x, std::span<const float> slopes, const Tensor& y);

}  // namespace ringside
