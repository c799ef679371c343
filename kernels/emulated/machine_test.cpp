// The emulated GPU: its collective operations, and that it finds the faults it is made to find.
#include <gmock/gmock.h>

#include <array>
#include <cmath>
#include <stdexcept>
#include <vector>

#include "kernels/emulated/launcher.h"
#include "kernels/emulated/machine.h"

namespace ringside {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

TEST(EmulatedGpu, EveryThreadOfEveryBlockRunsOnce) {
  std::vector<int> runs(3 * 64);
  run_grid({.blocks = 3, .threads = 64}, [&] {
    ++runs[static_cast<std::size_t>(Emulated::block() * 64 + Emulated::thread())];
    EXPECT_EQ(Emulated::blocks(), 3);
  });
  EXPECT_THAT(runs, testing::Each(1));
}

TEST(EmulatedGpu, ShuffleGivesTheOtherLanesValue) {
  run_grid({.blocks = 1, .threads = 64}, [] {
    const int thread = Emulated::thread();
    EXPECT_EQ(Emulated::shuffle_xor(static_cast<float>(thread), 5), static_cast<float>(thread ^ 5));
  });
}

/// Writes its number, waits if it may, and sums all numbers.
float sum_of_all(bool waits, std::uint64_t seed) {
  float sum = 0;
  run_grid({.blocks = 1, .threads = 128, .shared_bytes = 128 * sizeof(float), .seed = seed}, [&] {
    auto* numbers = reinterpret_cast<float*>(Emulated::shared());
    numbers[Emulated::thread()] = 1;
    if (waits) Emulated::sync();
    float mine = 0;
    for (int i = 0; i < 128; ++i) mine += numbers[i];
    if (Emulated::thread() == 0) sum = mine;
  });
  return sum;
}

TEST(EmulatedGpu, AMissingBarrierReadsNaN) {
  EXPECT_EQ(sum_of_all(true, 1), 128);
  int found = 0;
  for (std::uint64_t seed = 0; seed < 20; ++seed) found += std::isnan(sum_of_all(false, seed)) ? 1 : 0;
  EXPECT_GT(found, 10);  // unless the first warp runs last, of four
}

TEST(EmulatedGpu, CopiesArriveWhenTheyAreWaitedFor) {
  alignas(16) std::array<float, 8> from{1, 2, 3, 4, 5, 6, 7, 8};
  run_grid({.blocks = 1, .threads = 32, .shared_bytes = 32 * 32}, [&] {
    auto* mine = reinterpret_cast<float*>(Emulated::shared()) + 8 * Emulated::thread();
    Emulated::copy_async(mine, from.data(), true);
    Emulated::commit();
    Emulated::copy_async(mine + 4, from.data() + 4, false);
    Emulated::commit();
    EXPECT_TRUE(std::isnan(mine[0]));
    Emulated::wait_copies<1>();
    EXPECT_EQ(mine[3], 4);
    EXPECT_TRUE(std::isnan(mine[4]));
    Emulated::wait_copies<0>();
    EXPECT_EQ(mine[4], 0);
  });
}

/// [16, depth] times [depth, 8] + 1 by one warp, whose fragments the test makes from the PTX manual's tables.
template <int kDepth, typename Kind, typename Pack>
void expect_product(Kind kind, Pack pack) {
  const auto a = [](int row, int k) { return static_cast<float>(row - 3 * k % 7); };
  const auto b = [](int k, int col) { return static_cast<float>(2 * col - k); };
  run_grid({.blocks = 1, .threads = 32}, [&] {
    const int g = Emulated::thread() / 4, t = Emulated::thread() % 4;
    constexpr int kOfRegister = kDepth / 8;  // elements
    const auto k_of = [&](int i, int half) { return kOfRegister * t + i + kDepth / 2 * half; };
    std::uint32_t left[4], right[2];
    for (int i = 0; i < 4; ++i) {
      const int row = g + 8 * (i % 2), half = i / 2;
      left[i] = pack([&](int x) { return a(row, k_of(x, half)); });
    }
    for (int half = 0; half < 2; ++half) right[half] = pack([&](int x) { return b(k_of(x, half), g); });
    float c[4] = {1, 1, 1, 1};
    Emulated::multiply(c, left, right, kind);
    for (int i = 0; i < 4; ++i) {
      const int row = g + 8 * (i / 2), col = 2 * t + i % 2;
      float expected = 1;
      for (int k = 0; k < kDepth; ++k) expected += a(row, k) * b(k, col);
      EXPECT_EQ(c[i], expected) << row << " " << col;
    }
  });
}

TEST(EmulatedGpu, ProductsHaveTheFragmentsOfTensorCores) {
  expect_product<16>(Bf16{}, [](auto element) { return Emulated::pack_bf16(element(0), element(1)); });
  expect_product<8>(Tf32{}, [](auto element) { return std::bit_cast<std::uint32_t>(element(0)); });
}

TEST(EmulatedGpu, ProductsRoundTheirOperandsAsTensorCoresDo) {
  run_grid({.blocks = 1, .threads = 32}, [&] {
    const bool first = Emulated::thread() == 0;
    const float long_one = 1 + 0x1p-11f;  // beyond tf32's 10 bits of fraction
    const std::uint32_t a[4] = {first ? std::bit_cast<std::uint32_t>(long_one) : 0u, 0, 0, 0};
    const std::uint32_t b[2] = {first ? std::bit_cast<std::uint32_t>(1.0f) : 0u, 0};
    float c[4] = {};
    Emulated::multiply(c, a, b, Tf32{});
    EXPECT_EQ(c[0], first ? 1.0f : 0.0f);
  });
}

TEST(EmulatedGpu, MatricesAreLoadedAsFragments) {
  for (const bool transposed : {false, true}) {
    run_grid({.blocks = 1, .threads = 32, .shared_bytes = 4 * 8 * 16}, [&] {
      const int lane = Emulated::thread(), g = lane / 4, t = lane % 4;
      auto* elements = reinterpret_cast<std::uint16_t*>(Emulated::shared());  // [4][8][8]
      for (int i = 0; i < 8; ++i) elements[8 * lane + i] = static_cast<std::uint16_t>(8 * lane + i);
      Emulated::sync_warp();
      std::uint32_t r[4];
      if (transposed) {
        Emulated::load_matrices_transposed(r, elements + 8 * lane);
      } else {
        Emulated::load_matrices(r, elements + 8 * lane);
      }
      for (std::uint32_t m = 0; m < 4; ++m) {
        for (int i = 0; i < 2; ++i) {
          const int row = transposed ? 2 * t + i : g, col = transposed ? g : 2 * t + i;
          EXPECT_EQ(r[m] >> (16 * i) & 0xffffu, 64 * m + static_cast<std::uint32_t>(8 * row + col));
        }
      }
    });
  }
}

TEST(EmulatedGpu, FaultsAreNamed) {
  const auto run = [](const std::function<void()>& body) {
    return [body] { run_grid({.blocks = 1, .threads = 64, .shared_bytes = 64}, body); };
  };
  const auto fails_with = [](const char* text) { return ThrowsMessage<std::logic_error>(HasSubstr(text)); };
  EXPECT_THAT(run([] {
                if (Emulated::thread() < 32) Emulated::sync();
              }),
              fails_with("32 threads of a block ended, the others are in sync()"));
  EXPECT_THAT(run([] {
                if (Emulated::thread() % 2 == 0) {
                  Emulated::sync_warp();
                } else {
                  Emulated::sync();
                }
              }),
              fails_with("threads of a warp are in different collective operations"));
  EXPECT_THAT(run([] { Emulated::shared()[64 + Emulated::thread()] = std::byte{1}; }),
              fails_with("a write behind the 64 bytes of shared memory"));
  EXPECT_THAT(run([] {
                static const std::array<float, 4> from{};
                Emulated::copy_async(Emulated::shared() + 4, from.data(), true);
              }),
              fails_with("a misaligned copy"));
  EXPECT_THAT(run([] {
                alignas(16) static const std::array<float, 4> from{};
                Emulated::copy_async(Emulated::shared(), from.data(), true);
              }),
              fails_with("copies were never waited for"));
  EXPECT_THAT(run([] {
                std::uint32_t r[4];
                Emulated::load_matrices(r, Emulated::shared() + 64);
              }),
              fails_with("a row of a matrix outside shared memory"));
  EXPECT_THAT([] { run_grid({.blocks = 1, .threads = 33}, [] {}); }, fails_with("a block of 33 threads"));
}

}  // namespace
}  // namespace ringside
