// A GPU's threads on the CPU: the machine (gpu/machine.h) on which kernels are judged where there is no GPU.
// Made to find faults: shared memory begins as NaN, and so does what copy_async() writes until it is waited
// for; between two sync() each warp runs alone, one after the other in random order, and so do its threads
// between two collective operations.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>

#include "kernels/exp.h"
#include "kernels/gpu/machine.h"
#include "reference/dtype.h"
#include "reference/view.h"

namespace ringside {

struct Emulated {
  static int thread();
  static Index block();
  static Index blocks();
  static std::byte* shared();

  static void sync();
  static void sync_warp();
  static float shuffle_xor(float x, int mask);

  static void copy_async(void* to, const void* from, bool valid);
  static void commit();
  template <int kGroups>
  static void wait_copies() {
    wait_copies(kGroups);
  }

  static void multiply(float (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], Bf16);
  static void multiply(float (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], Tf32);
  static void load_matrices(std::uint32_t (&r)[4], const void* row);
  static void load_matrices_transposed(std::uint32_t (&r)[4], const void* row);

  static std::uint32_t pack_bf16(float low, float high) {
    return to_bf16(low).bits | static_cast<std::uint32_t>(to_bf16(high).bits) << 16;
  }
  static float exp2(float x) { return std::exp2(x); }
  static float exp(float x) { return exp_fp32(x); }
  static float log(float x) { return std::log(x); }

 private:
  static void wait_copies(int groups);
};

/// A grid: `blocks` blocks of `threads` threads (whole warps), each with `shared_bytes` of shared memory.
struct Grid {
  Index blocks = 0;
  int threads = 32;
  std::size_t shared_bytes = 0;
  std::uint64_t seed = 0;  ///< of the order in which warps run
};

/// Runs body() in every thread of the grid, one block after the other, in the calling thread. Throws
/// std::logic_error where a GPU would do something undefined: threads of a warp in different collective
/// operations, some threads of a block in sync() when others have ended, a write behind the shared memory,
/// misaligned copies, copies never waited for.
void run_grid(const Grid& grid, const std::function<void()>& body);

}  // namespace ringside
