// The generator's definition, bits and statistics.
#include <Random123/philox.h>
#include <gtest/gtest.h>
#ifdef __SSE__
#include <xmmintrin.h>
#endif

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <numbers>
#include <numeric>

#include "harness/tensors/inputs.h"

namespace ringside {
namespace {

Case small_case() {
  return {.variant = "lightning",
          .op = Operator::lightning,
          .batch = 3,
          .seq = 50,
          .heads = 4,
          .kv_heads = 2,
          .head_dim = 7,
          .value_dim = 12,
          .seed = (std::uint64_t{1} << 52) + 42};
}

// What the generator is defined to be, in double and with the library's functions.
TEST(Generator, FollowsItsDefinition) {
  const Case c = small_case();
  for (const TensorId id : kInputs) {
    const Index dim = shape_of(c, id).dim;
    std::vector<float> found(static_cast<std::size_t>(dim));
    fill_rows(c, id, 2, 1, {31, 1, 1}, found);
    for (Index i = 0; i < dim; ++i) {
      const auto block = static_cast<std::uint32_t>(id) << 29 | static_cast<std::uint32_t>(i / 4);
      const philox4x32_ctr_t words = philox4x32_R(10, {{block, 31, 1, 2}}, {{42, 1u << 20}});
      const auto pair = static_cast<std::size_t>(i % 4 / 2 * 2);
      const std::uint32_t a = words.v[pair], b = words.v[pair + 1];
      const double radius = std::sqrt(-2 * std::log((static_cast<double>(a >> 1) + 0.5) * 0x1p-31));
      const double angle =
          static_cast<double>(static_cast<std::int32_t>(b << 2)) * 0x1p-33 * std::numbers::pi;
      const bool sine = (b >> 31 != 0) == (i % 2 == 0);
      const double sign = (b >> 30 & 1u) != 0 ? -1 : 1;
      const double expected = sign * radius * (sine ? std::sin(angle) : std::cos(angle));
      // A dozen fp32 roundings of values below 6.7.
      EXPECT_NEAR(static_cast<double>(found[static_cast<std::size_t>(i)]), expected, 12 * 6.7 * 0x1p-24);
    }
  }
}

struct Golden {
  Fill fill;
  DType dtype;
  TensorId id;
  std::array<Index, 3> place;         // batch entry, head, position
  std::array<std::uint32_t, 6> bits;  // of the first values
};

// Recorded bits. A change here changes every recorded result.
TEST(Generator, NeverChanges) {
  // clang-format off
  const std::vector<Golden> table = {
      {Fill::gaussian, DType::fp32, TensorId::q, {0, 0, 0}, {0xbe03edb9, 0xbea619ce, 0xbdd59100, 0x3f65a089, 0xc005644b, 0x3f5a8a4c}},
      {Fill::gaussian, DType::fp32, TensorId::k, {2, 1, 49}, {0x3f62183d, 0x3eb0f7ac, 0xbdabcd0a, 0x3f81e84f, 0x3f76945a, 0xbfff15d7}},
      {Fill::gaussian, DType::fp32, TensorId::v, {1, 0, 7}, {0x3ee7b04e, 0xbf223808, 0xbef39529, 0xbf8f7710, 0xbf21da6e, 0x3e13e12f}},
      {Fill::gaussian, DType::fp32, TensorId::dout, {2, 3, 20}, {0xbf4f48c4, 0x3f9011e0, 0xbea43e36, 0xbfd010a2, 0x3f7c19b7, 0xc00fc572}},
      {Fill::gaussian, DType::bf16, TensorId::v, {1, 0, 7}, {0x3ee80000, 0xbf220000, 0xbef40000, 0xbf8f0000, 0xbf220000, 0x3e140000}},
      {Fill::large_logit, DType::fp32, TensorId::q, {0, 0, 0}, {0xbf83edb9, 0xc02619ce, 0xbf559100, 0x40e5a089, 0xc185644b, 0x40da8a4c}},
      {Fill::exact, DType::fp32, TensorId::k, {2, 1, 49}, {0x3f800000, 0xc0000000, 0x00000000, 0x3f800000, 0xc0000000, 0x40000000}},
      {Fill::denormal, DType::fp32, TensorId::v, {1, 0, 7}, {0x00039ec1, 0x800511c0, 0x8003ce55, 0x8008f771, 0x80050ed3, 0x000127c2}},
      {Fill::denormal, DType::bf16, TensorId::v, {1, 0, 7}, {0x00040000, 0x80050000, 0x80040000, 0x80090000, 0x80050000, 0x00010000}},
  };
  // clang-format on
  for (const Golden& g : table) {
    Case c = small_case();
    c.fill = g.fill;
    c.dtype = g.dtype;
    std::vector<float> found(static_cast<std::size_t>(shape_of(c, g.id).dim));
    const auto [b, h, position] = g.place;
    fill_rows(c, g.id, b, h, {position, 1, 1}, found);
    for (std::size_t i = 0; i < g.bits.size(); ++i) {
      EXPECT_EQ(std::bit_cast<std::uint32_t>(found[i]), g.bits[i]) << to_string(g.fill) << " " << i;
    }
  }
}

#ifdef __SSE__
TEST(Generator, IgnoresFlushToZero) {
  for (const Fill fill : {Fill::gaussian, Fill::denormal}) {
    for (const DType dtype : {DType::fp32, DType::bf16}) {
      Case c = small_case();
      c.fill = fill;
      c.dtype = dtype;
      const auto bytes = [&] {
        return to_storage(generate(c, TensorId::v, std::vector<Index>{0, 1}, {0, 2}, {{0, 1, 50}}), dtype);
      };
      const auto usual = bytes();
      const unsigned state = _mm_getcsr();
      _mm_setcsr(state | 0x8040);  // flush results to zero, take denormal operands as zero
      const auto flushed = bytes();
      _mm_setcsr(state);
      EXPECT_EQ(usual, flushed);
    }
  }
}
#endif

// Normal values, enough for statistics: q of 4096 tokens of dim 256.
const std::vector<float>& many(TensorId id) {
  static const auto make = [](TensorId of) {
    const Case c{.variant = "ring", .seq = 4096, .head_dim = 256, .value_dim = 256, .seed = 3};
    return generate(c, of, std::vector<Index>{0}, {0, 1}, {{0, 1, 4096}});
  };
  static const std::array<std::vector<float>, 4> made = {make(kInputs[0]), make(kInputs[1]), make(kInputs[2]),
                                                         make(kInputs[3])};
  return made[static_cast<std::size_t>(id)];
}

TEST(Generator, DoesNotRepeatItself) {
  std::vector<float> seen = many(TensorId::q);
  std::sort(seen.begin(), seen.end());
  const auto distinct = std::unique(seen.begin(), seen.end()) - seen.begin();
  // Near 1 there are 2^23 to 2^24 fp32 numbers to an interval of length 1, so that 2^20 independent values
  // meet by chance a few percent of the time at most; a generator that repeats rows or blocks repeats half or
  // more.
  EXPECT_GT(distinct, std::ssize(seen) * 9 / 10);
}

// Tolerances: 5 standard errors of each statistic for 2^20 independent normal values.
TEST(Gaussian, HasTheMomentsOfANormalLaw) {
  for (const TensorId id : kInputs) {
    const std::vector<float>& values = many(id);
    const auto n = static_cast<double>(values.size());
    double m1 = 0, m2 = 0, m3 = 0, m4 = 0;
    for (const double x : values) {
      m1 += x / n;
      m2 += x * x / n;
      m3 += x * x * x / n;
      m4 += x * x * x * x / n;
    }
    EXPECT_NEAR(m1, 0, 5 * std::sqrt(1 / n));
    EXPECT_NEAR(m2, 1, 5 * std::sqrt(2 / n));   // Var x² = 3 - 1
    EXPECT_NEAR(m3, 0, 5 * std::sqrt(15 / n));  // E x⁶
    EXPECT_NEAR(m4, 3, 5 * std::sqrt(96 / n));  // E x⁸ - 9 = 105 - 9
  }
}

TEST(Gaussian, PassesKolmogorovSmirnov) {
  for (const TensorId id : kInputs) {
    std::vector<float> values = many(id);
    std::ranges::sort(values);
    const auto n = static_cast<double>(values.size());
    double distance = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double cdf = 0.5 * std::erfc(-static_cast<double>(values[i]) / std::numbers::sqrt2);
      const auto rank = static_cast<double>(i);
      distance = std::max({distance, cdf - rank / n, (rank + 1) / n - cdf});
    }
    // P(√n·D > 1.95) = 2·exp(-2·1.95²) = 0.001.
    EXPECT_LT(std::sqrt(n) * distance, 1.95);
    RecordProperty("ks_" + std::to_string(static_cast<int>(id)), std::to_string(std::sqrt(n) * distance));
  }
}

TEST(Gaussian, HasTheTailsOfANormalLaw) {
  for (const TensorId id : kInputs) {
    const std::vector<float>& values = many(id);
    for (const double sigma : {3.0, 4.0}) {
      for (const double sign : {1.0, -1.0}) {
        const double expected =
            static_cast<double>(values.size()) * 0.5 * std::erfc(sigma / std::numbers::sqrt2);
        const auto found =
            std::ranges::count_if(values, [&](float x) { return sign * static_cast<double>(x) > sigma; });
        EXPECT_NEAR(static_cast<double>(found), expected, 5 * std::sqrt(expected));  // Poisson
      }
    }
    EXPECT_LT(std::ranges::max(values), 6.67f);
  }
}

double correlation(std::span<const float> a, std::span<const float> b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0) / static_cast<double>(a.size());
}

// The mean of n products of independent normal values has standard error 1/√n; of n squares, √2/√n.
TEST(Gaussian, IsUncorrelated) {
  const auto bound = [](std::span<const float> a) { return 5 / std::sqrt(static_cast<double>(a.size())); };
  for (const TensorId a : kInputs) {
    const std::span<const float> values = many(a);
    for (const std::size_t lag : {1u, 2u, 3u, 4u, 8u, 255u, 256u, 257u, 1024u}) {
      const auto shifted = values.subspan(lag);
      EXPECT_NEAR(correlation(shifted, values.first(shifted.size())), 0, bound(shifted)) << lag;
    }
    for (const TensorId b : kInputs) {
      const double expected = a == b ? 1 : 0;
      EXPECT_NEAR(correlation(values, many(b)), expected, 2 * bound(values));
    }
  }
}

}  // namespace
}  // namespace ringside
