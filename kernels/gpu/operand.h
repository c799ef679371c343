// Operands of a GPU's products: tiles in shared memory.
#pragma once

#include <bit>
#include <cstddef>
#include <type_traits>

#include "kernels/gpu/machine.h"
#include "reference/storage.h"
#include "reference/view.h"

namespace ringside {

/// Two neighbours in memory.
template <typename T>
struct alignas(2 * sizeof(T)) Pair {
  T low, high;
};

/// Each element is rounded once.
template <typename Machine, typename T>
RINGSIDE_DEVICE Pair<T> rounded_pair(float low, float high) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    return std::bit_cast<Pair<T>>(Machine::pack_bf16(low, high));
  } else {
    return {from_float<T>(low), from_float<T>(high)};
  }
}

/// Rows of one head's matrix in the GPU's memory: `dim` columns of each, rows `stride` elements apart.
struct HeadRows {
  std::byte* data = nullptr;
  DType dtype = DType::fp32;
  int dim = 0, stride = 0;

  RINGSIDE_DEVICE std::byte* at(Index row, int col) const {
    return data + (row * stride + col) * static_cast<Index>(size_of(dtype));
  }
  RINGSIDE_DEVICE float value(Index row, int col) const {
    const std::byte* const p = at(row, col);
    if (dtype == DType::bf16) return to_float(*reinterpret_cast<const BFloat16*>(p));
    if (dtype == DType::fp16) return to_float(*reinterpret_cast<const Float16*>(p));
    return *reinterpret_cast<const float*>(p);
  }
  /// Columns first .. first + count - 1.
  RINGSIDE_DEVICE HeadRows columns(int first, int count) const {
    return {at(0, first), dtype, count, stride};
  }
};

/// f(T{}), T the type of the elements.
template <typename F>
RINGSIDE_DEVICE void with_type_of(const HeadRows& rows, F&& f) {
  if (rows.dtype == DType::fp32) return f(float{});
  if (rows.dtype == DType::bf16) return f(BFloat16{});
  f(Float16{});
}

/// A tensor [batch, heads, tokens, dim] in the GPU's memory, its rows `stride` elements apart.
struct HeadMatrices {
  std::byte* data = nullptr;
  DType dtype = DType::fp32;
  Index heads = 0, tokens = 0;
  int dim = 0, stride = 0;

  constexpr HeadRows head(Index batch, Index h) const {
    const Index offset = (batch * heads + h) * tokens * stride;
    return {data + offset * static_cast<Index>(size_of(dtype)), dtype, dim, stride};
  }
};

/// Element i of rows with a stride of their own, zeros behind the dim.
template <typename T>
struct ConvertRows {
  HeadRows from;  ///< all rows of all heads
  T* to;
  int stride;

  RINGSIDE_DEVICE void operator()(Index i) const {
    const Index row = i / stride;
    const int col = static_cast<int>(i - row * stride);
    to[i] = from_float<T>(col < from.dim ? from.value(row, col) : 0.0f);
  }
};

/// The rows of a matrix from which operands with kCols columns are loaded, those beyond its own being zero.
template <int kCols>
struct Source {
  HeadRows rows;
};

/// kRows x kCols elements in shared memory, rows first. The 16-byte pieces of a row are permuted by the row's
/// number, so that neither eight rows of a column of pieces, as load_matrices() reads them, nor the threads
/// that read single elements of several rows meet in one bank more than twice.
template <typename T, int kRowsOf, int kColsOf>
struct Operand {
  using Element = T;
  static constexpr int kRows = kRowsOf, kCols = kColsOf;
  static constexpr int kPiece = 16 / static_cast<int>(sizeof(T));  // elements
  static constexpr int kPieces = kCols / kPiece;                   // of a row
  static_assert(kCols % kPiece == 0 && (kPieces & (kPieces - 1)) == 0);

  T* data = nullptr;

  /// Where piece `number` of a row begins.
  RINGSIDE_DEVICE T* piece(int row, int number) const {
    return data + row * kCols + (number ^ (row / kRowsOfLine & (kPermuted - 1))) * kPiece;
  }
  /// Whether rows so far apart have their pieces in one order.
  static constexpr bool permutes_alike(int rows) { return rows % (kRowsOfLine * kPermuted) == 0; }
  RINGSIDE_DEVICE T& at(int row, int col) const { return piece(row, col / kPiece)[col & (kPiece - 1)]; }

 private:
  static constexpr int kLine = 128 / static_cast<int>(sizeof(T));        // elements in all banks
  static constexpr int kRowsOfLine = kCols < kLine ? kLine / kCols : 1;  // short rows share a line
  static constexpr int kPermuted = kPieces < 8 ? kPieces : 8;
};

/// All kThreads threads of a block: rows first..first + count - 1 of matrices whose rows are aligned to 16
/// bytes and have the operand's type (matrices.h) -> operand; the rest of it is zero. The copies are of a
/// group that the caller commits. A thread's copies are equally far apart: addresses are stepped, not
/// computed.
template <typename Machine, int kThreads, typename T, int kRows, int kCols>
RINGSIDE_DEVICE void load_operand(const Operand<T, kRows, kCols>& to, const HeadRows& from, Index first,
                                  int count) {
  using To = Operand<T, kRows, kCols>;
  static_assert(kThreads % To::kPieces == 0);
  constexpr int kStride = kThreads / To::kPieces;
  const int number = Machine::thread() & (To::kPieces - 1), col = number * To::kPiece;
  const int own = Machine::thread() / To::kPieces, valid = col < from.dim ? count : 0;
  const T* source = reinterpret_cast<const T*>(from.data) + (first + own) * from.stride + col;
  T* target = to.piece(own, number);
  RINGSIDE_ROLLED
  for (int row = own; row < kRows; row += kStride) {
    if constexpr (!To::permutes_alike(kStride)) target = to.piece(row, number);
    Machine::copy_async(target, source, row < valid);
    source += kStride * from.stride;
    target += kStride * kCols;
  }
}

}  // namespace ringside
