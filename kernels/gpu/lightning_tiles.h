// GPU tiles for linear attention with decay.
#pragma once

#include "kernels/decay.h"
#include "kernels/gpu/decay_kernels.h"
#include "kernels/gpu/tiles.h"

namespace ringside {

/// A state's fp32 matrix in memory, or its transpose, or columns of it.
struct StateMemory {
  float* data = nullptr;
  Index row_stride = 0, col_stride = 0;  ///< elements

  RINGSIDE_DEVICE float& at(int row, int col) const { return data[row * row_stride + col * col_stride]; }
};

template <typename MachineOf, typename Product, TileSizes kSizes>
class LightningTiles : public WarpTiles<MachineOf, Product, kSizes> {
  using Base = WarpTiles<MachineOf, Product, kSizes>;
  static_assert(kSizes.tile == kSizes.step);

 public:
  using Base::kThreads;
  using typename Base::Element;
  using typename Base::Machine;
  /// Tokens of a tile.
  static constexpr int kBlock = kSizes.step;
  using State = typename Base::template AccumulatorOf<kSizes.head_dim, kSizes.value_dim>;

  using Base::Base;

  /// Bytes of shared memory that decay() takes: what follows is aligned as the longest rows of operands.
  static constexpr int kDecayBytes = 1024;
  static_assert((2 * kBlock + 1) * sizeof(float) <= kDecayBytes);

  /// λ^0 .. λ^kBlock, for all warps behind a synchronize() or a stream's next().
  RINGSIDE_DEVICE CentredPowers decay(float slope) {
    auto* const powers = reinterpret_cast<float*>(Machine::shared() + this->take_bytes(kDecayBytes));
    for (int i = Machine::thread(); i <= 2 * kBlock; i += kThreads)
      powers[i] = power_of_decay(slope, i < kBlock ? kBlock - i : i - kBlock);
    return {powers + kBlock};
  }
  /// Scores of one tile: s_xy times λ^|x-y| where y is not behind x on the state's way, else 0.
  template <typename X>
  RINGSIDE_DEVICE void decay_scores(X& s, const CentredPowers& decay, Toward toward) const {
    const Lane<Machine> lane;
    const int forward = toward == Toward::end ? 1 : -1;
    s.each([&](int slot, int column, float& x) {
      const int distance = X::row(lane, slot) - X::col(lane, column);
      const float factor = decay.centre[distance];
      x = forward * distance >= 0 ? factor * x : 0.0f;
    });
  }

  /// Row i of x, of so many, times factors[i].
  template <int kRows, int kCols>
  RINGSIDE_DEVICE auto row_scaled(const Operand<Element, kRows, kCols>& x, const float* factors,
                                  Extent<kRows> rows) {
    using X = Operand<Element, kRows, kCols>;
    struct alignas(16) Piece {
      Pair<Element> pairs[X::kPiece / 2];
    };
    const X result = this->template take<kRows, kCols>();
    RINGSIDE_UNROLL
    for (int i = Machine::thread(); i < kRows * X::kPieces; i += kThreads) {
      const int row = i / X::kPieces, number = i % X::kPieces;
      const float factor = row < rows.count ? factors[row] : 0.0f;
      Piece piece = *reinterpret_cast<const Piece*>(x.piece(row, number));
      RINGSIDE_UNROLL
      for (Pair<Element>& pair : piece.pairs)
        pair = rounded_pair<Machine, Element>(factor * to_float(pair.low), factor * to_float(pair.high));
      *reinterpret_cast<Piece*>(result.piece(row, number)) = piece;
    }
    return result;
  }
  /// x <- factor·x + aᵀ·b; where products are exact, they are summed before they are added.
  template <typename X, typename A, typename B>
  RINGSIDE_DEVICE void scale_add_tn(X& x, float factor, const A& a, const B& b) const {
    this->scale(x, factor);
    this->multiply_tn(x, a, b, Into::add);
  }

  // --- states
  RINGSIDE_DEVICE State load_state(const StateMemory& memory) const {
    State state = this->zeros(this->head_dim(), this->value_dim());
    this->each_of(state, [&](int row, int col, float& x) { x = memory.at(row, col); });
    return state;
  }
  RINGSIDE_DEVICE void add_scaled(State& state, const StateMemory& memory, float factor) const {
    this->each_of(state, [&](int row, int col, float& x) { x += factor * memory.at(row, col); });
  }
  RINGSIDE_DEVICE void store_state(State& state, const StateMemory& memory) const {
    this->each_of(state, [&](int row, int col, float& x) { memory.at(row, col) = x; });
  }
};

}  // namespace ringside
