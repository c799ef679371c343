// Kernels that write down what the functions of a machine (simt/machine.h) do, for test_machine.h.
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

#include "kernels/simt/launch.h"

namespace ringside::test_machine {

struct NumberProbe {
  static constexpr int kThreads = 96;
  float* out;  // [blocks, 96]
  template <typename Machine>
  RINGSIDE_DEVICE void run() const {
    out[Machine::block() * kThreads + Machine::thread()] =
        static_cast<float>(1000 * Machine::blocks() + 100 * Machine::block() + Machine::thread());
  }
};

struct ShuffleProbe {
  static constexpr int kThreads = 64;
  int mask;
  float* out;  // [64]
  template <typename Machine>
  RINGSIDE_DEVICE void run() const {
    const int thread = Machine::thread();
    out[thread] = Machine::shuffle_xor(static_cast<float>(thread), mask);
  }
};

/// Shared memory, read behind a barrier of the block, then one of the warp.
struct BarrierProbe {
  static constexpr int kThreads = 128;
  float* out;  // [2, 128]: the sum over all threads, and the number of the warp's opposite lane
  template <typename Machine>
  RINGSIDE_DEVICE void run() const {
    auto* numbers = reinterpret_cast<float*>(Machine::shared());
    const int thread = Machine::thread();
    numbers[thread] = static_cast<float>(thread);
    Machine::sync();
    float sum = 0;
    for (int i = 0; i < kThreads; ++i) sum += numbers[i];
    Machine::sync();
    numbers[thread] = static_cast<float>(-thread);
    Machine::sync_warp();
    out[thread] = sum;
    out[kThreads + thread] = numbers[thread ^ 31];
  }
};

/// Two groups of copies a thread; every third thread's are not valid. What was in shared memory is NaN.
struct CopyProbe {
  static constexpr int kThreads = 64;
  const float* in;  // [64, 8]
  float* out;       // [64, 8]
  template <typename Machine>
  RINGSIDE_DEVICE void run() const {
    const int thread = Machine::thread();
    float* const mine = reinterpret_cast<float*>(Machine::shared()) + 8 * thread;
    for (int i = 0; i < 8; ++i) mine[i] = std::bit_cast<float>(0x7fc00000u);
    Machine::sync();
    const bool valid = thread % 3 != 0;
    Machine::copy_async(mine, in + 8 * thread, valid);
    Machine::commit();
    Machine::copy_async(mine + 4, in + 8 * thread + 4, valid);
    Machine::commit();
    Machine::template wait_copies<1>();
    for (int i = 0; i < 4; ++i) out[8 * thread + i] = mine[i];
    Machine::template wait_copies<0>();
    for (int i = 4; i < 8; ++i) out[8 * thread + i] = mine[i];
  }
};

/// c: [16, 8] += a: [16, depth] · b: [depth, 8], all row-major, by the fragments of PTX's tables
/// (mma.m16n8k16 with .bf16, mma.m16n8k8 with .tf32).
template <typename Kind>
struct ProductProbe {
  static constexpr int kThreads = 32;
  static constexpr bool kPairs = std::is_same_v<Kind, Bf16>;
  static constexpr int kDepth = kPairs ? 16 : 8;
  const float *a, *b;
  float* c;
  template <typename Machine>
  RINGSIDE_DEVICE void run() const {
    const int g = Machine::thread() / 4, t = Machine::thread() % 4;
    std::uint32_t left[4], right[2];
    for (int i = 0; i < 4; ++i) {
      const int row = g + 8 * (i % 2), half = i / 2;
      if constexpr (kPairs) {
        const float* const at = a + row * kDepth + 2 * t + 8 * half;
        left[i] = Machine::pack_bf16(at[0], at[1]);
      } else {
        left[i] = std::bit_cast<std::uint32_t>(a[row * kDepth + t + 4 * half]);
      }
    }
    for (int half = 0; half < 2; ++half) {
      if constexpr (kPairs) {
        const int k = 2 * t + 8 * half;
        right[half] = Machine::pack_bf16(b[k * 8 + g], b[(k + 1) * 8 + g]);
      } else {
        right[half] = std::bit_cast<std::uint32_t>(b[(t + 4 * half) * 8 + g]);
      }
    }
    float sums[4];
    for (int i = 0; i < 4; ++i) sums[i] = c[(g + 8 * (i / 2)) * 8 + 2 * t + i % 2];
    Machine::multiply(sums, left, right, Kind{});
    for (int i = 0; i < 4; ++i) c[(g + 8 * (i / 2)) * 8 + 2 * t + i % 2] = sums[i];
  }
};

/// Four 8x8 matrices whose element i, in order, is i.
struct MatricesProbe {
  static constexpr int kThreads = 32;
  bool transposed;
  std::uint32_t* out;  // [32, 4]
  template <typename Machine>
  RINGSIDE_DEVICE void run() const {
    const int lane = Machine::thread();
    auto* elements = reinterpret_cast<std::uint16_t*>(Machine::shared());  // [4][8][8]
    for (int i = 0; i < 8; ++i) elements[8 * lane + i] = static_cast<std::uint16_t>(8 * lane + i);
    Machine::sync_warp();
    std::uint32_t r[4];
    if (transposed) {
      Machine::load_matrices_transposed(r, elements + 8 * lane);
    } else {
      Machine::load_matrices(r, elements + 8 * lane);
    }
    for (int m = 0; m < 4; ++m) out[4 * lane + m] = r[m];
  }
};

struct PackProbe {
  static constexpr int kThreads = 32;
  Index count;
  const float* in;     // [count, 2]
  std::uint32_t* out;  // [count]
  template <typename Machine>
  RINGSIDE_DEVICE void run() const {
    for (Index i = Machine::thread(); i < count; i += kThreads) {
      out[i] = Machine::pack_bf16(in[2 * i], in[2 * i + 1]);
    }
  }
};

enum class Function { exp2, exp, log };

template <Function kFunction>
struct FunctionProbe {
  static constexpr int kThreads = 128;
  Index count;
  const float* in;
  float* out;
  template <typename Machine>
  RINGSIDE_DEVICE void run() const {
    for (Index i = Machine::block() * kThreads + Machine::thread(); i < count;
         i += Machine::blocks() * kThreads) {
      if constexpr (kFunction == Function::exp2) {
        out[i] = Machine::exp2(in[i]);
      } else if constexpr (kFunction == Function::exp) {
        out[i] = Machine::exp(in[i]);
      } else {
        out[i] = Machine::log(in[i]);
      }
    }
  }
};

}  // namespace ringside::test_machine
