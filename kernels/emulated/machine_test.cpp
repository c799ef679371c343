// The emulated GPU: that it finds the faults it is made to find. What its operations do: primitives_test.cpp.
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
