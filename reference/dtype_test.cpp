#include "reference/dtype.h"

#include <gtest/gtest.h>

#include "reference/denormals.h"

namespace ringside {
namespace {

float from_bits(std::uint32_t bits) { return std::bit_cast<float>(bits); }

TEST(BFloat16, EveryPatternSurvivesTheRoundTrip) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const BFloat16 x{static_cast<std::uint16_t>(bits)};
    const float value = to_float(x);
    const BFloat16 back = to_bf16(value);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(to_float(back)));
      EXPECT_EQ(back.bits, bits | 0x40u);  // quiet, sign and payload kept
    } else {
      ASSERT_EQ(back.bits, bits);
    }
  }
}

TEST(BFloat16, RoundsEveryGapToNearestTiesToEven) {
  // Between neighbours x and x + 1 (in bits) lie 2^16 floats; the quarter, the half and the three-quarter
  // points, and one float either side of the half. Positive and negative, denormals and the step to infinity
  // included.
  for (std::uint32_t sign : {0u, 0x8000u}) {
    for (std::uint32_t magnitude = 0; magnitude < 0x7f80; ++magnitude) {
      const std::uint32_t x = sign | magnitude, even = x + (x & 1u);
      const std::uint32_t bits = x << 16;
      ASSERT_EQ(to_bf16(from_bits(bits | 0x4000u)).bits, x);
      ASSERT_EQ(to_bf16(from_bits(bits | 0x7fffu)).bits, x);
      ASSERT_EQ(to_bf16(from_bits(bits | 0x8000u)).bits, even);
      ASSERT_EQ(to_bf16(from_bits(bits | 0x8001u)).bits, x + 1);
      ASSERT_EQ(to_bf16(from_bits(bits | 0xc000u)).bits, x + 1);
    }
  }
}

TEST(BFloat16, OverflowsToInfinity) {
  const float max = std::numeric_limits<float>::max(), inf = std::numeric_limits<float>::infinity();
  EXPECT_EQ(to_float(to_bf16(max)), inf);
  EXPECT_EQ(to_float(to_bf16(-max)), -inf);
  EXPECT_EQ(to_float(to_bf16(inf)), inf);
  EXPECT_EQ(to_float(to_bf16(-inf)), -inf);
  EXPECT_EQ(to_bf16(from_bits(0x7f7f7fffu)).bits, 0x7f7f);  // the last float that rounds to the largest bf16
}

TEST(BFloat16, NanStaysNan) {
  // Also where rounding would carry a NaN's mantissa into infinity or zero.
  for (const std::uint32_t bits : {0x7f800001u, 0x7fffffffu, 0xff800001u, 0xffffffffu, 0x7fc00000u}) {
    EXPECT_TRUE(std::isnan(to_float(to_bf16(from_bits(bits))))) << bits;
    EXPECT_EQ(to_bf16(from_bits(bits)).bits >> 15, bits >> 31) << bits;
  }
}

TEST(Float16, EveryPatternSurvivesTheRoundTrip) {
  for (const DenormalMode::Mode mode : {DenormalMode::keep, DenormalMode::flush}) {
    const DenormalMode guard(mode);
    for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
      const float value = to_float(Float16{static_cast<std::uint16_t>(bits)});
      const Float16 back = to_fp16(value);
      if (std::isnan(value)) {
        ASSERT_GT(bits & 0x7fffu, 0x7c00u);
        ASSERT_EQ(back.bits, bits | 0x200u);  // quiet, sign and payload kept
      } else {
        ASSERT_EQ(back.bits, bits);
      }
    }
  }
}

TEST(Float16, ValuesAreThoseOfTheFormat) {
  for (std::uint32_t bits = 0; bits < 0x7c00; ++bits) {
    const int exponent = static_cast<int>(bits >> 10), fraction = static_cast<int>(bits & 0x3ffu);
    const double value =
        exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
    ASSERT_EQ(static_cast<double>(to_float(Float16{static_cast<std::uint16_t>(bits)})), value);
    ASSERT_EQ(static_cast<double>(to_float(Float16{static_cast<std::uint16_t>(bits | 0x8000u)})), -value);
  }
  EXPECT_EQ(to_float(Float16{0x7c00}), std::numeric_limits<float>::infinity());
  EXPECT_EQ(to_float(Float16{0xfc00}), -std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::signbit(to_float(Float16{0x8000})));
}

TEST(Float16, RoundsEveryGapToNearestTiesToEven) {
  // From each finite number to the next, the last step going to 2^16, which is infinite: points near either
  // end, the half, and one float either side of it. All of them are exact in fp32.
  for (const DenormalMode::Mode mode : {DenormalMode::keep, DenormalMode::flush}) {
    const DenormalMode guard(mode);
    for (std::uint32_t x = 0; x < 0x7c00; ++x) {
      const float low = to_float(Float16{static_cast<std::uint16_t>(x)});
      const float high = x + 1 < 0x7c00 ? to_float(Float16{static_cast<std::uint16_t>(x + 1)}) : 0x1p16f;
      const float half = low + (high - low) / 2;
      for (const float sign : {1.0F, -1.0F}) {
        const std::uint32_t s = sign < 0 ? 0x8000u : 0;
        ASSERT_EQ(to_fp16(sign * std::nextafter(low, high)).bits, s | x);
        ASSERT_EQ(to_fp16(sign * std::nextafter(half, low)).bits, s | x);
        ASSERT_EQ(to_fp16(sign * half).bits, s | (x + (x & 1u)));
        ASSERT_EQ(to_fp16(sign * std::nextafter(half, high)).bits, s | (x + 1));
        ASSERT_EQ(to_fp16(sign * std::nextafter(high, low)).bits, s | (x + 1));
      }
    }
  }
}

TEST(Float16, SpecialValues) {
  const float inf = std::numeric_limits<float>::infinity();
  EXPECT_EQ(to_float(to_fp16(std::nextafter(65520.0F, 0.0F))), 65504.0F);
  for (const float x : {65520.0F, 1e30F, std::numeric_limits<float>::max(), inf}) {
    EXPECT_EQ(to_fp16(x).bits, 0x7c00);
    EXPECT_EQ(to_fp16(-x).bits, 0xfc00);
  }
  for (const std::uint32_t bits : {0x7f800001u, 0x7fffffffu, 0xff800001u, 0xffffffffu, 0x7fc00000u}) {
    EXPECT_TRUE(std::isnan(to_float(to_fp16(from_bits(bits))))) << bits;
    EXPECT_EQ(to_fp16(from_bits(bits)).bits >> 15, bits >> 31) << bits;
  }
  EXPECT_EQ(to_fp16(from_bits(1)).bits, 0);
  EXPECT_EQ(to_fp16(from_bits(0x80000001u)).bits, 0x8000);
}

TEST(Tf32, DropsTheLast13BitsTowardsZero) {
  EXPECT_EQ(truncated_to_tf32(1.0F), 1.0F);
  EXPECT_EQ(truncated_to_tf32(std::nextafter(1 + 0x1p-10F, 1.0F)), 1.0F);
  EXPECT_EQ(truncated_to_tf32(1 + 0x1p-10F), 1 + 0x1p-10F);
  EXPECT_EQ(truncated_to_tf32(-std::numeric_limits<float>::max()), -0x1.ffcp127F);
  for (const std::uint32_t bits : {0x7f800000u, 0xff800000u, 0u, 0x80000000u}) {
    EXPECT_EQ(std::bit_cast<std::uint32_t>(truncated_to_tf32(from_bits(bits))), bits);
  }
  for (const std::uint32_t bits : {0x7f800001u, 0xff801fffu, 0x7fffffffu, 0xffc00000u}) {
    EXPECT_TRUE(std::isnan(truncated_to_tf32(from_bits(bits)))) << bits;
  }
  // 16-bit types lose nothing
  for (std::uint32_t bits = 0; bits < 0x7c00; ++bits) {
    const float narrow = to_float(Float16{static_cast<std::uint16_t>(bits)});
    ASSERT_EQ(truncated_to_tf32(narrow), narrow);
    const float wide = to_float(BFloat16{static_cast<std::uint16_t>(bits)});
    ASSERT_EQ(truncated_to_tf32(wide), wide);
  }
}

TEST(DType, ErrorsAndThresholdsAreThoseOfRounding) {
  for (const DType dtype : {DType::bf16, DType::fp16}) {
    const auto threshold = static_cast<float>(overflow_threshold(dtype));
    EXPECT_EQ(static_cast<double>(threshold), overflow_threshold(dtype));
    EXPECT_TRUE(std::isinf(rounded_to(dtype, threshold)));
    EXPECT_TRUE(std::isfinite(rounded_to(dtype, std::nextafter(threshold, 0.0F))));
    // around the smallest normal number
    const double u = unit_roundoff(dtype), normal = smallest_normal(dtype);
    for (int i = 0; i < 4096; ++i) {
      const auto x = static_cast<float>(normal * (i / 2048.0) * (1 + 0x1p-20));
      const double error = static_cast<double>(std::abs(rounded_to(dtype, x) - x));
      ASSERT_LE(error, u * std::max(static_cast<double>(x), normal)) << x;
    }
  }
  EXPECT_EQ(overflow_threshold(DType::fp16), 65520);
  EXPECT_EQ(overflow_threshold(DType::fp32), 0x1.ffffffp127);
}

TEST(DType, UnitRoundoffIsReached) {
  // 1 + u is half way between two neighbours, and rounds down to the even 1.
  EXPECT_EQ(1.0F + static_cast<float>(unit_roundoff(DType::fp32)), 1.0F);
  EXPECT_GT(std::nextafter(1.0F, 2.0F), 1.0F + static_cast<float>(unit_roundoff(DType::fp32)));
  for (const DType dtype : {DType::bf16, DType::fp16}) {
    const auto half_gap = static_cast<float>(unit_roundoff(dtype));
    EXPECT_EQ(rounded_to(dtype, 1.0F + half_gap), 1.0F);
    EXPECT_EQ(rounded_to(dtype, std::nextafter(1.0F + half_gap, 2.0F)), 1.0F + 2 * half_gap);
  }
}

TEST(DType, Sizes) {
  EXPECT_EQ(size_of(DType::fp32), 4u);
  EXPECT_EQ(size_of(DType::bf16), sizeof(BFloat16));
  EXPECT_EQ(size_of(DType::fp16), sizeof(Float16));
}

}  // namespace
}  // namespace ringside
