// Transposition in registers, eight rows and columns at a time.
#include <algorithm>

#include "kernels/cpu/memory_rows.h"
#include "kernels/cpu/vector.h"

namespace ringside {
namespace {

/// out: [8, 8] <- inᵀ, by pairs, then fours, then eights.
void transpose_8x8(const float* in, Index in_stride, float* out, Index out_stride) {
  Vector r[8], pair[8], four[8];
  for (int i = 0; i < 8; ++i) r[i] = load(in + i * in_stride);
  for (int i = 0; i < 8; i += 2) {
    pair[i] = __builtin_shufflevector(r[i], r[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    pair[i + 1] = __builtin_shufflevector(r[i], r[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  for (int i = 0; i < 8; i += 4) {
    for (int j = 0; j < 2; ++j) {
      const Vector a = pair[i + j], b = pair[i + j + 2];
      four[i + 2 * j] = __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13);
      four[i + 2 * j + 1] = __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15);
    }
  }
  for (int i = 0; i < 4; ++i) {
    const Vector low = __builtin_shufflevector(four[i], four[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    const Vector high = __builtin_shufflevector(four[i], four[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    store(low, out + i * out_stride);
    store(high, out + (i + 4) * out_stride);
  }
}

}  // namespace

void transpose(const ConstMatrix& in, float* out, Index out_stride) {
  const Index full_rows = in.rows / 8 * 8;
  const Index full_cols = in.cols / 8 * 8;
  // Pairs of blocks, so that whole cache lines are written, and along rows, as strides are often powers of
  // two.
  for (Index i = 0; i < full_rows; i += 16) {
    const Index pair_end = std::min(i + 16, full_rows);
    for (Index j = 0; j < full_cols; j += 8) {
      for (Index p = i; p < pair_end; p += 8) {
        transpose_8x8(in.data + p * in.stride + j, in.stride, out + j * out_stride + p, out_stride);
      }
    }
  }
  for (Index i = 0; i < in.rows; ++i) {
    for (Index j = i < full_rows ? full_cols : 0; j < in.cols; ++j)
      out[j * out_stride + i] = in.data[i * in.stride + j];
  }
}

}  // namespace ringside
