// What matrix products need besides the product: operands in the type and the part that they take.
#pragma once

#include "kernels/simt/launch.h"
#include "reference/dtype.h"

namespace ringside {

/// Matrices that lie `stride` elements apart, their rows `pitch`.
struct MatrixLayout {
  Index stride = 0, pitch = 0;
};

/// to <- from, [rows, cols] each, densely, converted; if `lower`, 0 above the diagonal, whatever is there.
template <typename From, typename To>
struct PackMatrices {
  const From* from;
  MatrixLayout layout;  ///< of `from`
  To* to;
  Index rows, cols;
  bool lower;

  RINGSIDE_DEVICE void operator()(Index i) const {
    const Index matrix = i / (rows * cols), row = i / cols % rows, col = i % cols;
    float x = 0;
    if (!lower || col <= row) x = to_float(from[matrix * layout.stride + row * layout.pitch + col]);
    to[i] = from_float<To>(x);
  }
};

/// x <- 0, [rows, cols] each.
struct ClearMatrices {
  float* x;
  MatrixLayout layout;
  Index rows, cols;

  RINGSIDE_DEVICE void operator()(Index i) const {
    x[i / (rows * cols) * layout.stride + i / cols % rows * layout.pitch + i % cols] = 0;
  }
};

}  // namespace ringside
