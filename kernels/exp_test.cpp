#include "kernels/exp.h"

#include <gtest/gtest.h>

#include <cmath>

#include "reference/denormals.h"

namespace ringside {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// Largest error over every `step`-th float of [from, to], in units of the last place of the result.
double largest_error(float from, float to, std::uint32_t step) {
  double worst = 0;
  const std::uint32_t a = std::bit_cast<std::uint32_t>(from), b = std::bit_cast<std::uint32_t>(to);
  for (std::uint32_t bits = a; bits <= b; bits += step) {
    const float x = std::bit_cast<float>(bits);
    const double truth = std::exp(static_cast<double>(x));
    const double unit = std::ldexp(1.0, std::ilogb(truth) - 23);
    worst = std::max(worst, std::fabs(static_cast<double>(exp_fp32(x)) - truth) / unit);
  }
  return worst;
}

// Every 101st float between the smallest magnitude that changes 1 and the ends of the range. The truth is
// exact to 2^-52; one ulp is what exp.h states.
TEST(Exp, ErrorStaysBelowStatedBound) {
  const double negative = largest_error(-0x1p-26f, -87.33654f, 101);
  const double positive = largest_error(0x1p-26f, 88.72283f, 101);
  RecordProperty("ulp_negative", std::to_string(negative));
  RecordProperty("ulp_positive", std::to_string(positive));
  EXPECT_LE(negative, 1.0);
  EXPECT_LE(positive, 1.0);
}

TEST(Exp, EndsOfTheRange) {
  EXPECT_EQ(exp_fp32(0.0f), 1.0f);
  EXPECT_EQ(exp_fp32(-0.0f), 1.0f);
  EXPECT_EQ(exp_fp32(-kInfinity), 0.0f);
  EXPECT_EQ(exp_fp32(kInfinity), kInfinity);
  EXPECT_EQ(exp_fp32(88.73f), kInfinity);
  EXPECT_TRUE(std::isfinite(exp_fp32(88.722f)));
  for (const float x : {-87.34f, -100.0f, -1e4f, -1e30f, -std::numeric_limits<float>::max()}) {
    EXPECT_EQ(exp_fp32(x), 0.0f) << x;
  }
  for (const float x : {1e4f, 1e30f, std::numeric_limits<float>::max()})
    EXPECT_EQ(exp_fp32(x), kInfinity) << x;
  EXPECT_GE(exp_fp32(-87.3365f), std::numeric_limits<float>::min());
  EXPECT_TRUE(std::isnan(exp_fp32(std::numeric_limits<float>::quiet_NaN())));
  EXPECT_TRUE(std::isnan(exp_fp32(-std::numeric_limits<float>::quiet_NaN())));
}

TEST(Exp, SameUnderFlushToZero) {
  for (float x = -90; x < 90; x += 0.37f) {
    const float kept = exp_fp32(x);
    const DenormalMode guard(DenormalMode::flush);
    EXPECT_EQ(exp_fp32(x), kept) << x;
  }
}

}  // namespace
}  // namespace ringside
