#include "reference/dtype.h"

#include <gtest/gtest.h>

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

TEST(DType, UnitRoundoffIsReached) {
  // 1 + u is half way between two neighbours, and rounds down to the even 1.
  EXPECT_EQ(1.0F + static_cast<float>(unit_roundoff(DType::fp32)), 1.0F);
  EXPECT_GT(std::nextafter(1.0F, 2.0F), 1.0F + static_cast<float>(unit_roundoff(DType::fp32)));
  const auto half_gap = static_cast<float>(unit_roundoff(DType::bf16));
  EXPECT_EQ(to_float(to_bf16(1.0F + half_gap)), 1.0F);
  EXPECT_EQ(to_float(to_bf16(std::nextafter(1.0F + half_gap, 2.0F))), 1.0F + 2 * half_gap);
}

TEST(DType, NamesParseBack) {
  for (const DType dtype : {DType::fp32, DType::bf16}) EXPECT_EQ(parse_dtype(to_string(dtype)), dtype);
  for (const Math math : {Math::fp32, Math::tf32}) EXPECT_EQ(parse_math(to_string(math)), math);
  for (const char* text : {"", "fp16", "FP32", "fp32 "})
    EXPECT_FALSE(parse_dtype(text) || parse_math(text)) << text;
  EXPECT_FALSE(parse_dtype("tf32"));
  EXPECT_FALSE(parse_math("bf16"));
  EXPECT_EQ(size_of(DType::fp32), 4u);
  EXPECT_EQ(size_of(DType::bf16), sizeof(BFloat16));
}

}  // namespace
}  // namespace ringside
