// A block's matrix products on a GPU: op(a)·op(b) of operands in shared memory (or, of 16 bits, a in
// registers), added to accumulators. What kind of arithmetic is a type: Bf16Product, Tf32Product, FmaProduct.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/gpu/accumulator.h"
#include "kernels/gpu/operand.h"

namespace ringside {

/// Tensor cores on bf16 operands.
struct Bf16Product {
  using Element = BFloat16;
  static constexpr bool kExact = false;
  /// Whether the first factor of a product may stay in registers.
  static constexpr bool kInRegisters = true;

  /// Rows of an accumulator as the first factor of a product: the layout of 16 x 16 elements of a is that of
  /// two fragments of an accumulator side by side, so they need not leave the registers.
  template <int kHigh, int kDeep>
  struct InRegisters {
    std::uint32_t a[kHigh][kDeep][4];
  };

  template <typename Machine, int kRows, int kCols, int kWarps>
  RINGSIDE_DEVICE static auto in_registers(const Accumulator<kRows, kCols, kWarps>& x) {
    using X = Accumulator<kRows, kCols, kWarps>;
    InRegisters<X::kHigh, X::kWide / 2> result;
    RINGSIDE_UNROLL
    for (int m = 0; m < X::kHigh; ++m) {
      RINGSIDE_UNROLL
      for (int k = 0; k < X::kWide / 2; ++k) {
        const auto& left = x.c[m][2 * k];
        const auto& right = x.c[m][2 * k + 1];
        result.a[m][k][0] = Machine::pack_bf16(left[0], left[1]);
        result.a[m][k][1] = Machine::pack_bf16(left[2], left[3]);
        result.a[m][k][2] = Machine::pack_bf16(right[0], right[1]);
        result.a[m][k][3] = Machine::pack_bf16(right[2], right[3]);
      }
    }
    return result;
  }

  template <bool kTransposeA, bool kTransposeB, typename Machine, typename C, typename A, typename B>
  RINGSIDE_DEVICE static void multiply_add(C& c, const A& a, const B& b) {
    const Lane<Machine> lane;
    constexpr int kDepth = kTransposeB ? B::kCols : B::kRows;
    // matrices of a: (rows 0, k 0), (rows 8, k 0), (rows 0, k 8), (rows 8, k 8)
    const Corner8 at(lane.lane);
    const Pieces<Machine, kTransposeA, A> left_pieces(
        a, kTransposeA ? 8 * at.second + at.row : C::first_row(lane.warp, 0) + 8 * at.first + at.row,
        kTransposeA ? C::first_row(lane.warp, 0) / 8 + at.first : at.second);
    const Pieces<Machine, !kTransposeB, B> right_pieces = of_b<kTransposeB, Machine>(b, at);
    RINGSIDE_UNROLL_TWICE
    for (int k = 0; k < kDepth / 16; ++k) {
      std::uint32_t left[C::kHigh][4];
      RINGSIDE_UNROLL
      for (int m = 0; m < C::kHigh; ++m) left_pieces.load(left[m], kTransposeA ? k : m, kTransposeA ? m : k);
      multiply_step<kTransposeB>(c, left, right_pieces, k);
    }
  }

  template <bool kTransposeA, bool kTransposeB, typename Machine, typename C, int kHigh, int kDeep,
            typename B>
  RINGSIDE_DEVICE static void multiply_add(C& c, const InRegisters<kHigh, kDeep>& a, const B& b) {
    static_assert(!kTransposeA && kHigh == C::kHigh);
    const auto right_pieces = of_b<kTransposeB, Machine>(b, Corner8(Lane<Machine>().lane));
    RINGSIDE_UNROLL
    for (int k = 0; k < kDeep; ++k) {
      std::uint32_t left[kHigh][4];
      RINGSIDE_UNROLL
      for (int m = 0; m < kHigh; ++m) {
        RINGSIDE_UNROLL
        for (int i = 0; i < 4; ++i) left[m][i] = a.a[m][k][i];
      }
      multiply_step<kTransposeB>(c, left, right_pieces, k);
    }
  }

 private:
  /// Which row of which of four 8 x 8 matrices a lane gives to load_matrices(): matrix 2 second + first.
  struct Corner8 {
    int first, second, row;
    RINGSIDE_DEVICE explicit Corner8(int lane) : first(lane >> 3 & 1), second(lane >> 4), row(lane & 7) {}
  };

  /// Blocks of 16 x 16 elements of an operand, as four matrices. The thread's piece of block (0, 0) is that
  /// in `row` and, of its pieces, `number`; as pieces are permuted by an exclusive or with bits of the row
  /// that are the same in all blocks, the others are an exclusive or and an offset away.
  template <typename Machine, bool kTransposed, typename X>
  struct Pieces {
    using MachineOf = Machine;
    int offset;  ///< bytes, from the beginning of shared memory, where every row is aligned to its size

    RINGSIDE_DEVICE Pieces(const X& x, int row, int number)
        : offset(static_cast<int>(reinterpret_cast<std::byte*>(x.piece(row, number)) - Machine::shared())) {}

    RINGSIDE_DEVICE void load(std::uint32_t (&r)[4], int down, int right) const {
      constexpr int kRow = X::kCols * static_cast<int>(sizeof(Element));
      const std::byte* const piece = Machine::shared() + (offset ^ 32 * right) + 16 * kRow * down;
      if constexpr (kTransposed) {
        Machine::load_matrices_transposed(r, piece);
      } else {
        Machine::load_matrices(r, piece);
      }
    }
  };

  template <bool kTransposeB, typename Machine, typename B>
  RINGSIDE_DEVICE static Pieces<Machine, !kTransposeB, B> of_b(const B& b, const Corner8& at) {
    // matrices of b: (k 0, cols 0), (k 8, cols 0), (k 0, cols 8), (k 8, cols 8)
    if constexpr (kTransposeB) return {b, 8 * at.second + at.row, at.first};
    return {b, 8 * at.first + at.row, at.second};
  }

  /// The k-th 16 of the depth.
  template <bool kTransposeB, typename C, typename B>
  RINGSIDE_DEVICE static void multiply_step(C& c, const std::uint32_t (&left)[C::kHigh][4], const B& b,
                                            int k) {
    static_assert(C::kWide % 2 == 0);
    RINGSIDE_UNROLL
    for (int n = 0; n < C::kWide / 2; ++n) {
      std::uint32_t four[4];
      b.load(four, kTransposeB ? n : k, kTransposeB ? k : n);
      const std::uint32_t right[2][2] = {{four[0], four[1]}, {four[2], four[3]}};
      RINGSIDE_UNROLL
      for (int m = 0; m < C::kHigh; ++m) {
        B::MachineOf::multiply(c.c[m][2 * n], left[m], right[0], Bf16{});
        B::MachineOf::multiply(c.c[m][2 * n + 1], left[m], right[1], Bf16{});
      }
    }
  }
};

/// Element (i, k) of op(a), stored [i, k] or [k, i].
template <bool kTranspose, typename A>
RINGSIDE_DEVICE float element(const A& a, int i, int k) {
  return kTranspose ? a.at(k, i) : a.at(i, k);
}

/// Tensor cores on fp32 operands, of which they take 10 bits of fraction.
struct Tf32Product {
  using Element = float;
  static constexpr bool kExact = false, kInRegisters = false;

  template <bool kTransposeA, bool kTransposeB, typename Machine, typename C, typename A, typename B>
  RINGSIDE_DEVICE static void multiply_add(C& c, const A& a, const B& b) {
    const Lane<Machine> lane;
    constexpr int kDepth = kTransposeB ? B::kCols : B::kRows;
    const auto bits = [](float x) { return std::bit_cast<std::uint32_t>(x); };
    RINGSIDE_UNROLL_TWICE
    for (int k = 0; k < kDepth; k += 8) {
      std::uint32_t left[C::kHigh][4];
      RINGSIDE_UNROLL
      for (int m = 0; m < C::kHigh; ++m) {
        RINGSIDE_UNROLL
        for (int i = 0; i < 4; ++i) {
          const int row = C::first_row(lane.warp, m) + 8 * (i % 2) + lane.g;
          left[m][i] = bits(element<kTransposeA>(a, row, k + 4 * (i / 2) + lane.t));
        }
      }
      RINGSIDE_UNROLL
      for (int n = 0; n < C::kWide; ++n) {
        const std::uint32_t right[2] = {bits(element<!kTransposeB>(b, 8 * n + lane.g, k + lane.t)),
                                        bits(element<!kTransposeB>(b, 8 * n + lane.g, k + 4 + lane.t))};
        RINGSIDE_UNROLL
        for (int m = 0; m < C::kHigh; ++m) Machine::multiply(c.c[m][n], left[m], right, Tf32{});
      }
    }
  }
};

/// Plain fp32 arithmetic. Each product is summed before it is added to what the accumulators hold.
struct FmaProduct {
  using Element = float;
  static constexpr bool kExact = true, kInRegisters = false;

  template <bool kTransposeA, bool kTransposeB, typename Machine, typename C, typename A, typename B>
  RINGSIDE_DEVICE static void multiply_add(C& c, const A& a, const B& b) {
    const Lane<Machine> lane;
    constexpr int kDepth = kTransposeB ? B::kCols : B::kRows;
    C sum;
    sum.each([](int, int, float& x) { x = 0; });
    for (int k = 0; k < kDepth; ++k) {
      Rows<C::kSlots> left;
      RINGSIDE_UNROLL
      for (int slot = 0; slot < C::kSlots; ++slot)
        left[slot] = element<kTransposeA>(a, C::row(lane, slot), k);
      RINGSIDE_UNROLL
      for (int n = 0; n < C::kWide; ++n) {
        float right[2];
        for (int i = 0; i < 2; ++i) right[i] = element<!kTransposeB>(b, C::col(lane, 2 * n + i), k);
        RINGSIDE_UNROLL
        for (int slot = 0; slot < C::kSlots; ++slot) {
          auto& four = sum.c[slot / 2][n];
          four[2 * (slot % 2)] += left[slot] * right[0];
          four[2 * (slot % 2) + 1] += left[slot] * right[1];
        }
      }
    }
    RINGSIDE_UNROLL
    for (int m = 0; m < C::kHigh; ++m) {
      RINGSIDE_UNROLL
      for (int n = 0; n < C::kWide; ++n) {
        RINGSIDE_UNROLL
        for (int i = 0; i < 4; ++i) c.c[m][n][i] += sum.c[m][n][i];
      }
    }
  }
};

}  // namespace ringside
