// Elements against their bounds, where storage overflows: what must be infinite, what may be, what must not.
#include "harness/judge/compare.h"

#include <gtest/gtest.h>

#include <cmath>

#include "reference/dtype.h"

namespace ringside {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

/// One element of fp16, or of another type: its accumulator may err by `error`, storage by half a place.
TensorStats measure_one(float value, double expected, double error, DType dtype = DType::fp16) {
  const Problem problem;
  const std::vector<float> values = {value};
  const std::vector<double> of_value = {expected}, of_storage = {std::abs(expected)};
  const std::vector<float> of_error = {static_cast<float>(error)};
  const std::vector<int> holder = {0};
  RankStats rank;
  return measure({.problem = problem,
                  .out = Out::o,
                  .batch = 0,
                  .head = 0,
                  .values = values,
                  .expected = {.value = of_value, .error = of_error, .storage = of_storage},
                  .rounding = {1, unit_roundoff(dtype), overflow_threshold(dtype)},
                  .holder = holder,
                  .first_rank = 0,
                  .yardstick = {},
                  .either = {}},
                 {&rank, 1});
}

bool passes(float value, double expected, double error, DType dtype = DType::fp16) {
  return measure_one(value, expected, error, dtype)[Count::failed] == 0;
}

TEST(Overflow, FarBeyondTheThresholdOnlyInfinityOfThatSignPasses) {
  for (const float sign : {1.0F, -1.0F}) {
    const double expected = static_cast<double>(sign) * 70000;
    EXPECT_TRUE(passes(sign * kInf, expected, 100));
    EXPECT_FALSE(passes(-sign * kInf, expected, 100));
    EXPECT_FALSE(passes(sign * 65504, expected, 100));
    EXPECT_FALSE(passes(std::nanf(""), expected, 100));
  }
}

TEST(Overflow, WithinTheBoundOfTheThresholdBothPass) {
  for (const double expected : {65400.0, 65519.0, 65521.0, 65600.0}) {  // ±(100 + 32)
    EXPECT_TRUE(passes(kInf, expected, 100)) << expected;
    EXPECT_TRUE(passes(65504, expected, 100)) << expected;
    EXPECT_FALSE(passes(-kInf, expected, 100)) << expected;
    EXPECT_FALSE(passes(std::nanf(""), expected, 100)) << expected;
    EXPECT_FALSE(passes(-65504, expected, 100)) << expected;
  }
  // half a place of storage is part of the bound: exactly there, and one step of the reference before
  const double u = unit_roundoff(DType::fp16), last = 65520 / (1 + u);
  EXPECT_TRUE(passes(kInf, last * (1 + 0x1p-50), 0));
  EXPECT_FALSE(passes(kInf, last * (1 - 0x1p-50), 0));
}

TEST(Overflow, BelowTheThresholdInfinityFails) {
  EXPECT_FALSE(passes(kInf, 60000, 100));
  EXPECT_FALSE(passes(-kInf, 60000, 100));
  EXPECT_TRUE(passes(60000, 60000, 100));
  // a bound that reaches across both thresholds tells nothing
  EXPECT_TRUE(passes(kInf, 5, 1e6) && passes(-kInf, 5, 1e6) && passes(0, 5, 1e6));
}

TEST(Overflow, IsTheSameRuleForEveryType) {
  for (const DType dtype : kDTypes) {
    const double threshold = overflow_threshold(dtype), u = unit_roundoff(dtype);
    EXPECT_TRUE(passes(kInf, threshold * (1 + 2 * u), 0, dtype));
    EXPECT_FALSE(passes(std::nextafter(static_cast<float>(threshold * (1 - u)), 0.0F),
                        threshold * (1 + 4 * u), 0, dtype));
    EXPECT_FALSE(passes(kInf, threshold * (1 - 4 * u), 0, dtype));
  }
}

TEST(Overflow, EntersNoSum) {
  const TensorStats must = measure_one(kInf, 70000, 0);
  EXPECT_EQ(must[Count::nonfinite], 1);
  EXPECT_EQ(must[Count::elements], 0);
  EXPECT_EQ(must[Sum::ref2], 0);
  const TensorStats may = measure_one(kInf, 65519, 0);
  EXPECT_EQ(may[Count::nonfinite], 0);  // a finite number would have passed as well
  EXPECT_EQ(may[Count::elements], 1);
  EXPECT_EQ(may[Sum::ref2], 0);
  const TensorStats wrong = measure_one(65504, 70000, 0);
  EXPECT_EQ(wrong[Count::nonfinite], 1);
  EXPECT_EQ(wrong[Count::pattern_errors], 1);
  EXPECT_TRUE(std::isinf(wrong.max_share));
}

/// o of one head with one dim, of these values, against a reference of 1 in documents and 0 in padding.
TensorStats measure_padded(const std::vector<float>& values, Index padding) {
  const auto tokens = static_cast<Index>(values.size());
  const Problem problem = {.seq = tokens, .cu_seqlens = {0, tokens - padding}};
  std::vector<double> expected(values.size(), 1.0);
  std::fill(expected.end() - padding, expected.end(), 0.0);
  const std::vector<float> error(values.size(), 1.0F);
  const std::vector<int> holder(values.size(), 0);
  RankStats rank;
  return measure({.problem = problem,
                  .out = Out::o,
                  .batch = 0,
                  .head = 0,
                  .values = values,
                  .expected = {.value = expected, .error = error, .floor = 1, .smallest = 1},
                  .rounding = {1, unit_roundoff(DType::fp32), overflow_threshold(DType::fp32)},
                  .holder = holder,
                  .yardstick = {}},
                 {&rank, 1});
}

TEST(Padding, IsZeroToTheBitButForTheSign) {
  EXPECT_EQ(measure_padded({1, 1, 0, -0.0F}, 2)[Count::failed], 0);
  for (const float leak : {1e-45F, -1e-30F, 0.5F, kInf, std::nanf("")}) {
    const TensorStats stats = measure_padded({1, 1, 0, leak}, 2);
    EXPECT_EQ(stats[Count::failed], 1) << leak;
    EXPECT_TRUE(std::isinf(stats.max_share)) << leak;
    EXPECT_EQ(stats.max_abs, std::isfinite(leak) ? double{std::abs(leak)} : kInf);
    EXPECT_EQ(stats.worst.token, 3);
    EXPECT_EQ(stats.worst.bound(), 0);
  }
}

TEST(Padding, EntersNoSum) {
  const TensorStats stats = measure_padded({1, 1, 0, 0, 0}, 3);
  EXPECT_EQ(stats[Count::elements], 2);
  EXPECT_EQ(stats[Count::unasked], 3);
  EXPECT_EQ(stats[Count::zeros], 0);
  EXPECT_EQ(stats[Sum::ref2], 2);
}

TEST(RowBucket, CountsTheTermsThatAreSeen) {
  const auto terms = [](const Problem& p, Out out, Index token) {
    return Index{1} << row_bucket(p, out, token);
  };
  const Problem plain = {.seq = 64}, full = {.seq = 64, .causal = false};
  EXPECT_EQ(terms(plain, Out::o, 63), 64);
  EXPECT_EQ(terms(plain, Out::dk, 63), 1);
  EXPECT_EQ(terms(full, Out::dq, 0), 64);
  Problem packed = {.seq = 64, .cu_seqlens = {0, 16, 48}};
  EXPECT_EQ(terms(packed, Out::o, 15), 16);
  EXPECT_EQ(terms(packed, Out::o, 16), 1);
  EXPECT_EQ(terms(packed, Out::dv, 0), 16);
  EXPECT_EQ(terms(packed, Out::dv, 16), 32);
  EXPECT_EQ(terms(packed, Out::dv, 47), 1);
  packed.window = 4;
  EXPECT_EQ(terms(packed, Out::o, 47), 4);
  EXPECT_EQ(terms(packed, Out::dk, 16), 4);
  packed.window = 0;
  packed.causal = false;
  EXPECT_EQ(terms(packed, Out::dk, 30), 32);
}

TEST(Pattern, ReferencesThatAreNotFinite) {
  const double nan = std::nan("");
  const auto inf = static_cast<double>(kInf);
  EXPECT_TRUE(passes(kInf, inf, 0) && passes(std::nanf(""), inf, 0));
  EXPECT_FALSE(passes(-kInf, inf, 0) || passes(1, inf, 0));
  EXPECT_TRUE(passes(std::nanf(""), nan, nan) && passes(kInf, nan, nan) && passes(-kInf, nan, nan));
  EXPECT_FALSE(passes(1, nan, nan));
  EXPECT_FALSE(passes(std::nanf(""), 1, 10));
}

}  // namespace
}  // namespace ringside
