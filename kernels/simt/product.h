// A block's matrix products on a GPU: op(a)·op(b) of operands in shared memory (or, of 16 bits, a in
// registers), added to accumulators. What kind of arithmetic is a type: Bf16Product, Tf32Product, FmaProduct.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/simt/accumulator.h"
#include "kernels/simt/operand.h"

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
    // lane l gives the row l % 8 of matrix l / 8: these are the matrix's two coordinates, in units of 8
    const int low = lane.lane >> 3 & 1, high = lane.lane >> 4, of_8 = lane.lane & 7;
    RINGSIDE_UNROLL_TWICE
    for (int k = 0; k < kDepth / 16; ++k) {
      std::uint32_t left[C::kHigh][4];
      RINGSIDE_UNROLL
      for (int m = 0; m < C::kHigh; ++m) {
        // matrices of a: (rows 0, k 0), (rows 8, k 0), (rows 0, k 8), (rows 8, k 8)
        const int row = C::first_row(lane.warp, m);
        if constexpr (kTransposeA) {
          Machine::load_matrices_transposed(left[m], a.piece(16 * k + 8 * high + of_8, row / 8 + low));
        } else {
          Machine::load_matrices(left[m], a.piece(row + 8 * low + of_8, 2 * k + high));
        }
      }
      multiply_step<kTransposeB, Machine>(c, left, b, k, low, high, of_8);
    }
  }

  template <bool kTransposeA, bool kTransposeB, typename Machine, typename C, int kHigh, int kDeep,
            typename B>
  RINGSIDE_DEVICE static void multiply_add(C& c, const InRegisters<kHigh, kDeep>& a, const B& b) {
    static_assert(!kTransposeA && kHigh == C::kHigh);
    const Lane<Machine> lane;
    RINGSIDE_UNROLL
    for (int k = 0; k < kDeep; ++k) {
      std::uint32_t left[kHigh][4];
      RINGSIDE_UNROLL
      for (int m = 0; m < kHigh; ++m) {
        RINGSIDE_UNROLL
        for (int i = 0; i < 4; ++i) left[m][i] = a.a[m][k][i];
      }
      multiply_step<kTransposeB, Machine>(c, left, b, k, lane.lane >> 3 & 1, lane.lane >> 4, lane.lane & 7);
    }
  }

 private:
  /// The k-th 16 of the depth.
  template <bool kTransposeB, typename Machine, typename C, typename B>
  RINGSIDE_DEVICE static void multiply_step(C& c, const std::uint32_t (&left)[C::kHigh][4], const B& b, int k,
                                            int low, int high, int of_8) {
    static_assert(C::kWide % 2 == 0);
    RINGSIDE_UNROLL
    for (int n = 0; n < C::kWide; n += 2) {
      // matrices of b: (k 0, cols 0), (k 8, cols 0), (k 0, cols 8), (k 8, cols 8)
      std::uint32_t four[4];
      if constexpr (kTransposeB) {
        Machine::load_matrices(four, b.piece(8 * (n + high) + of_8, 2 * k + low));
      } else {
        Machine::load_matrices_transposed(four, b.piece(16 * k + 8 * low + of_8, n + high));
      }
      const std::uint32_t right[2][2] = {{four[0], four[1]}, {four[2], four[3]}};
      RINGSIDE_UNROLL
      for (int m = 0; m < C::kHigh; ++m) {
        Machine::multiply(c.c[m][n], left[m], right[0], Bf16{});
        Machine::multiply(c.c[m][n + 1], left[m], right[1], Bf16{});
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
