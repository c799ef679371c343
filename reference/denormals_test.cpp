#include "reference/denormals.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <limits>
#include <thread>

namespace ringside {
namespace {

// volatile: read and computed where it is written, under whatever mode holds there.
volatile float smallest_normal = std::numeric_limits<float>::min();
volatile float smallest = std::numeric_limits<float>::denorm_min();
volatile float one_half = 0.5F, two_to_100 = 0x1p100F;

bool results_are_flushed() {
  volatile float half = smallest_normal * one_half;
  return half == 0.0F && std::bit_cast<std::uint32_t>(float{half}) == 0;
}

bool operands_are_zero() {
  volatile float scaled = smallest * two_to_100;
  return scaled == 0.0F;
}

class Denormals : public testing::Test {
 protected:
  void SetUp() override {
    const DenormalMode guard(DenormalMode::flush);
    if (!DenormalMode::flushing()) GTEST_SKIP() << "this machine's mode cannot be changed";
  }
};

TEST_F(Denormals, GuardsNestAndRestore) {
  const bool before = DenormalMode::flushing();
  {
    const DenormalMode flush(DenormalMode::flush);
    EXPECT_TRUE(DenormalMode::flushing());
    EXPECT_TRUE(results_are_flushed());
    EXPECT_TRUE(operands_are_zero());
    {
      const DenormalMode keep(DenormalMode::keep);
      EXPECT_FALSE(DenormalMode::flushing());
      EXPECT_FALSE(results_are_flushed());
      EXPECT_FALSE(operands_are_zero());
    }
    EXPECT_TRUE(DenormalMode::flushing());
    EXPECT_TRUE(results_are_flushed());
  }
  EXPECT_EQ(DenormalMode::flushing(), before);
}

TEST_F(Denormals, OtherThreadsAreNotTouched) {
  const DenormalMode keep(DenormalMode::keep);
  bool there = false;
  std::thread([&] {
    const DenormalMode flush(DenormalMode::flush);
    there = results_are_flushed();
  }).join();
  EXPECT_TRUE(there);
  EXPECT_FALSE(results_are_flushed());
}

}  // namespace
}  // namespace ringside
