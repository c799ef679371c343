// Matrices of the oracles: one (batch, head) of a tensor, in fp64. Internal to the matrix forms.
#pragma once

#include <Eigen/Core>
#include <span>

#include "reference/truth.h"

namespace ringside {

// Results must not depend on where memory happens to lie: sums and exponentials are taken over matrices that
// Eigen has allocated (aligned), never over maps of foreign memory.
using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// Weights and decays below this are dropped: they are nothing beside an underflow floor of 1e-38, and
/// denormals among them would slow the products.
inline constexpr double kNegligible = 1e-130;

/// `tokens` of one head's operand, from `first` on, [tokens, dim].
inline Matrix to_matrix(View<const float> x, Index b, Index h, Index first, Index tokens) {
  using Floats = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  return Eigen::Map<const Floats>(x.head(b, h) + first * x.shape.dim, tokens, x.shape.dim).cast<double>();
}

/// The tokens `rows` of one, [rows, dim].
inline Matrix to_matrix(View<const float> x, Index b, Index h, std::span<const Index> rows) {
  Matrix matrix(std::ssize(rows), x.shape.dim);
  for (Index i = 0; i < matrix.rows(); ++i) {
    const auto row = x.row(b, h, rows[static_cast<std::size_t>(i)]);
    for (Index c = 0; c < matrix.cols(); ++c) matrix(i, c) = double{row[static_cast<std::size_t>(c)]};
  }
  return matrix;
}

/// One head of a tensor of results, [tokens, dim].
template <typename T>
auto head(std::vector<T>& x, const Shape& shape, Index b, Index h) {
  using Values = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  return Eigen::Map<Values>(View<T>{x.data(), shape}.head(b, h), shape.tokens, shape.dim);
}

}  // namespace ringside
