// Shapes and non-owning views of dense [batch, heads, tokens, dim] tensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace ringside {

/// Counts and indices of tokens, heads, elements. Signed, so that differences of positions are plain.
using Index = std::int64_t;

/// Shape of a dense row-major tensor [batch, heads, tokens, dim]. A state is [batch, heads, head_dim,
/// value_dim]; a per-row quantity (lse, delta) has dim 1.
struct Shape {
  Index batch = 0;
  Index heads = 0;
  Index tokens = 0;
  Index dim = 0;

  constexpr Index rows() const { return batch * heads * tokens; }
  constexpr Index size() const { return rows() * dim; }
  /// Elements of one (batch, head) matrix [tokens, dim].
  constexpr Index head_size() const { return tokens * dim; }
  friend constexpr bool operator==(const Shape&, const Shape&) = default;
};

/// A non-owning view of a dense tensor; the caller keeps the memory alive.
template <typename T>
struct View {
  T* data = nullptr;
  Shape shape;

  /// The matrix [tokens, dim] of one batch entry and head.
  T* head(Index b, Index h) const { return data + (b * shape.heads + h) * shape.head_size(); }
  /// One token's vector [dim].
  std::span<T> row(Index b, Index h, Index t) const {
    return {head(b, h) + t * shape.dim, static_cast<std::size_t>(shape.dim)};
  }
  std::span<T> all() const { return {data, static_cast<std::size_t>(shape.size())}; }
  operator View<const T>() const { return {data, shape}; }
};

}  // namespace ringside
