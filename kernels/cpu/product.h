// Matrix product of tiles on the CPU: libxsmm or Eigen.
#pragma once

#include "kernels/tile.h"
#include "reference/view.h"

namespace ringside {

/// A row-major fp32 matrix; row i begins at data + i·stride.
struct Matrix {
  float* data = nullptr;
  Index rows = 0;
  Index cols = 0;
  Index stride = 0;
};

/// The same, read only.
struct ConstMatrix {
  ConstMatrix() = default;
  ConstMatrix(const float* data_, Index rows_, Index cols_, Index stride_)
      : data(data_), rows(rows_), cols(cols_), stride(stride_) {}
  ConstMatrix(const Matrix& m) : ConstMatrix(m.data, m.rows, m.cols, m.stride) {}  // NOLINT: a view of a view

  const float* data = nullptr;
  Index rows = 0;
  Index cols = 0;
  Index stride = 0;
};

/// c = a·b or c += a·b; a: [m, k], b: [k, n], c: [m, n]. Any thread; made for tiles that fit a cache.
void multiply(const ConstMatrix& a, const ConstMatrix& b, const Matrix& c, Into into);

}  // namespace ringside
