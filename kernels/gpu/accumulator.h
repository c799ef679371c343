// Accumulators of a GPU's products: registers, as the tensor cores lay them out.
#pragma once

#include "kernels/gpu/machine.h"

namespace ringside {

/// An extent: kSize rows or columns are computed, the first `count` of them count.
template <int kN>
struct Extent {
  static constexpr int kSize = kN;
  int count = kN;
};

/// Where a thread stands in its warp: lane 4 g + t.
template <typename Machine>
struct Lane {
  int warp = Machine::thread() >> 5;
  int lane = Machine::thread() & 31;
  int g = lane >> 2;
  int t = lane & 3;
};

/// kRows x kCols fp32 sums, of which each of kWarps warps holds kRows / kWarps consecutive rows: fragments of
/// 16 x 8, of which a thread has elements (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1).
template <int kRowsOf, int kColsOf, int kWarps>
struct Accumulator {
  static constexpr int kRows = kRowsOf, kCols = kColsOf;
  static constexpr int kHigh = kRows / kWarps / 16, kWide = kCols / 8;  // fragments of a warp
  static constexpr int kSlots = 2 * kHigh, kColumns = 2 * kWide;        // rows and columns of a thread
  static_assert(kRows % (16 * kWarps) == 0 && kCols % 8 == 0);

  float c[kHigh][kWide][4];
  int rows = kRows, cols = kCols;  ///< those that count

  /// The first row of a warp's m-th row of fragments.
  RINGSIDE_DEVICE static constexpr int first_row(int warp, int m) { return warp * (kRows / kWarps) + 16 * m; }
  /// The row of a thread's slot.
  template <typename Machine>
  RINGSIDE_DEVICE static int row(const Lane<Machine>& lane, int slot) {
    return first_row(lane.warp, slot / 2) + 8 * (slot % 2) + lane.g;
  }
  /// The number of a thread's column.
  template <typename Machine>
  RINGSIDE_DEVICE static int col(const Lane<Machine>& lane, int column) {
    return 8 * (column / 2) + 2 * lane.t + column % 2;
  }

  /// f(slot, column, x) for each of the thread's elements.
  template <typename F>
  RINGSIDE_DEVICE void each(F&& f) {
    RINGSIDE_UNROLL
    for (int m = 0; m < kHigh; ++m) {
      RINGSIDE_UNROLL
      for (int n = 0; n < kWide; ++n) {
        RINGSIDE_UNROLL
        for (int i = 0; i < 4; ++i) f(2 * m + i / 2, 2 * n + i % 2, c[m][n][i]);
      }
    }
  }
  /// f(slot, column, x, y) for each of the thread's pairs of neighbours in a row; column is x's.
  template <typename F>
  RINGSIDE_DEVICE void each_pair(F&& f) {
    RINGSIDE_UNROLL
    for (int m = 0; m < kHigh; ++m) {
      RINGSIDE_UNROLL
      for (int n = 0; n < kWide; ++n) {
        RINGSIDE_UNROLL
        for (int i = 0; i < 4; i += 2) f(2 * m + i / 2, 2 * n, c[m][n][i], c[m][n][i + 1]);
      }
    }
  }
};

/// One number for each of a thread's rows.
template <int kSlots>
struct Rows {
  float x[kSlots];
  RINGSIDE_DEVICE float& operator[](int slot) { return x[slot]; }
  RINGSIDE_DEVICE float operator[](int slot) const { return x[slot]; }
};

/// One number for each of a thread's columns.
template <int kColumns>
struct Columns {
  float x[kColumns];
  RINGSIDE_DEVICE float operator[](int column) const { return x[column]; }
};

}  // namespace ringside
