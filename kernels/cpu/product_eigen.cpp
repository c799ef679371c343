// Tile products by Eigen, where libxsmm does not generate code.
#include <Eigen/Core>

#include "kernels/cpu/product.h"

namespace ringside {

void multiply(const ConstMatrix& a, const ConstMatrix& b, const Matrix& c, Into into) {
  using Dense = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using Stride = Eigen::OuterStride<>;
  const Eigen::Map<const Dense, 0, Stride> left(a.data, a.rows, a.cols, Stride(a.stride));
  const Eigen::Map<const Dense, 0, Stride> right(b.data, b.rows, b.cols, Stride(b.stride));
  Eigen::Map<Dense, 0, Stride> product(c.data, c.rows, c.cols, Stride(c.stride));
  if (into == Into::add) {
    product.noalias() += left * right;
  } else {
    product.noalias() = left * right;
  }
}

}  // namespace ringside
