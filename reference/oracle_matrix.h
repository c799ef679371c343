// Matrices of the oracles: one (batch, head) of a tensor, in fp64. Internal to the matrix forms.
#pragma once

#include <Eigen/Core>

#include "reference/truth.h"

namespace ringside {

// Results must not depend on where memory happens to lie: sums and exponentials are taken over matrices that
// Eigen has allocated (aligned), never over maps of foreign memory.
using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// Weights and decays below this are dropped: they are nothing beside an underflow floor of 1e-38, and
/// denormals among them would slow the products.
inline constexpr double kNegligible = 1e-130;

/// One head's operand, [tokens, dim].
inline Matrix to_matrix(View<const float> x, Index b, Index h) {
  using Floats = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  return Eigen::Map<const Floats>(x.head(b, h), x.shape.tokens, x.shape.dim).cast<double>();
}

/// One head of a tensor of results, [tokens, dim].
inline Eigen::Map<Matrix> head(std::vector<double>& x, const Shape& shape, Index b, Index h) {
  return {View<double>{x.data(), shape}.head(b, h), shape.tokens, shape.dim};
}

}  // namespace ringside
