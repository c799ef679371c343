// Kernels that try each operation of a GPU machine. The test compares a GPU with an emulated one, and both
// with the PTX manual.
#pragma once

#include <iterator>
#include <span>
#include <stdexcept>
#include <vector>

#include "kernels/gpu/machine.h"
#include "reference/dtype.h"
#include "reference/view.h"

namespace ringside {

/// All have one block and write `kResults` floats a thread to `out`.
struct Primitive {
  static constexpr int kThreads = 64;
  const float* in = nullptr;
  float* out = nullptr;
};

/// x of the lanes that differ in each bit, and in all.
struct ShuffleValues : Primitive {
  static constexpr int kResults = 6, kShared = 0;

  template <typename Machine>
  RINGSIDE_DEVICE void run() const {
    const int thread = Machine::thread();
    for (int i = 0; i < kResults; ++i) {
      const int mask = i < 5 ? 1 << i : 31;
      out[thread * kResults + i] = Machine::shuffle_xor(in[thread], mask);
    }
  }
};

/// What the next thread of the block wrote to shared memory.
struct PassAround : Primitive {
  static constexpr int kResults = 1, kShared = kThreads * 4;

  template <typename Machine>
  RINGSIDE_DEVICE void run() const {
    auto* const values = reinterpret_cast<float*>(Machine::shared());
    values[Machine::thread()] = in[Machine::thread()];
    Machine::sync();
    out[Machine::thread()] = values[(Machine::thread() + 1) % kThreads];
  }
};

/// Four floats copied, four that are not valid; the copies are waited for one after the other.
struct CopyValues : Primitive {
  static constexpr int kResults = 8, kShared = kThreads * kResults * 4;

  template <typename Machine>
  RINGSIDE_DEVICE void run() const {
    float* const mine = reinterpret_cast<float*>(Machine::shared()) + kResults * Machine::thread();
    float* const results = out + kResults * Machine::thread();
    for (int i = 0; i < kResults; ++i) mine[i] = -1;
    Machine::copy_async(mine, in + 4 * Machine::thread(), true);
    Machine::commit();
    Machine::copy_async(mine + 4, in, false);
    Machine::commit();
    Machine::template wait_copies<1>();
    for (int i = 0; i < 4; ++i) results[i] = mine[i];
    Machine::template wait_copies<0>();
    for (int i = 4; i < 8; ++i) results[i] = mine[i];
  }
};

/// in: a [16, depth] and b [depth, 8]; out: each thread's fragment of a·b + 1 (the PTX manual's tables).
template <int kDepth, typename Kind>
struct MultiplyFragments : Primitive {
  static constexpr int kResults = 4, kShared = 0;

  template <typename Machine>
  RINGSIDE_DEVICE static std::uint32_t packed(const float* first, int step, Bf16) {
    return Machine::pack_bf16(first[0], first[step]);
  }
  template <typename Machine>
  RINGSIDE_DEVICE static std::uint32_t packed(const float* first, int, Tf32) {
    return std::bit_cast<std::uint32_t>(*first);
  }

  template <typename Machine>
  RINGSIDE_DEVICE void run() const {
    constexpr int kOfRegister = kDepth / 8;
    const float *const a = in, *const b = in + 16 * kDepth;
    const int g = Machine::thread() % 32 / 4, t = Machine::thread() % 4;
    std::uint32_t left[4], right[2];
    for (int i = 0; i < 4; ++i)
      left[i] =
          packed<Machine>(a + (g + 8 * (i % 2)) * kDepth + kOfRegister * t + kDepth / 2 * (i / 2), 1, Kind{});
    for (int i = 0; i < 2; ++i)
      right[i] = packed<Machine>(b + (kOfRegister * t + kDepth / 2 * i) * 8 + g, 8, Kind{});
    float c[4] = {1, 1, 1, 1};
    Machine::multiply(c, left, right, Kind{});
    for (int i = 0; i < 4; ++i) out[Machine::thread() * kResults + i] = c[i];
  }
};
using MultiplyBf16 = MultiplyFragments<16, Bf16>;
using MultiplyTf32 = MultiplyFragments<8, Tf32>;

/// Element 8·row + i of four matrices is its number; out: the fragments' elements, low ones first.
template <bool kTransposed>
struct LoadMatrices : Primitive {
  static constexpr int kResults = 8, kShared = kThreads * 16;

  template <typename Machine>
  RINGSIDE_DEVICE void run() const {
    const int lane = Machine::thread() % 32;
    auto* const elements = reinterpret_cast<std::uint16_t*>(Machine::shared()) + Machine::thread() / 32 * 256;
    for (int i = 0; i < 8; ++i) elements[8 * lane + i] = static_cast<std::uint16_t>(8 * lane + i);
    Machine::sync_warp();
    std::uint32_t r[4];
    if constexpr (kTransposed) {
      Machine::load_matrices_transposed(r, elements + 8 * lane);
    } else {
      Machine::load_matrices(r, elements + 8 * lane);
    }
    for (int i = 0; i < 8; ++i)
      out[Machine::thread() * kResults + i] = static_cast<float>(r[i / 2] >> (16 * (i % 2)) & 0xffffu);
  }
};

/// 2^x, e^x, ln x, and x rounded to bf16 as either half of a register.
struct Functions : Primitive {
  static constexpr int kResults = 5, kShared = 0;

  template <typename Machine>
  RINGSIDE_DEVICE void run() const {
    const float x = in[Machine::thread()];
    const std::uint32_t low = Machine::pack_bf16(x, 0), high = Machine::pack_bf16(0, x);
    const float results[kResults] = {Machine::exp2(x), Machine::exp(x), Machine::log(x),
                                     std::bit_cast<float>(low << 16),
                                     std::bit_cast<float>(high & 0xffff0000u)};
    for (int i = 0; i < kResults; ++i) out[Machine::thread() * kResults + i] = results[i];
  }
};

/// A constexpr function of the standard library that asks __builtin_constant_p: what nvcc makes of it depends
/// on ci/cmake/targets.cmake. Product code calls none (DEVICE_STD of ci/check_includes.py). out:
/// in[in[thread]].
struct StandardAdvance : Primitive {
  static constexpr int kResults = 1, kShared = 0;

  template <typename Machine>
  RINGSIDE_DEVICE void run() const {
    const float* at = in;
    std::advance(at, static_cast<int>(in[Machine::thread()]));
    out[Machine::thread()] = *at;
  }
};

/// What a kernel writes on the first GPU. in: 16-byte aligned there.
template <typename Kernel>
#if defined(RINGSIDE_TEST_CUDA)
std::vector<float> run_on_gpu(Kernel kernel, std::span<const float> in);
#else
std::vector<float> run_on_gpu(Kernel, std::span<const float>) {
  throw std::logic_error("built without CUDA");
}
#endif

}  // namespace ringside
