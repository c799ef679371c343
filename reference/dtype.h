// Storage types of tensors and the arithmetic of matrix products.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>

namespace ringside {

/// How an element is stored. Accumulation is fp32 whatever the storage.
enum class DType { fp32, bf16 };

/// How matrix products treat their operands: as they are, or truncated to TF32 as tensor cores do.
enum class Math { fp32, tf32 };

/// bfloat16 storage: the upper half of an IEEE binary32.
struct BFloat16 {
  std::uint16_t bits = 0;
};

/// Exact.
inline float to_float(BFloat16 x) { return std::bit_cast<float>(static_cast<std::uint32_t>(x.bits) << 16); }
inline float to_float(float x) { return x; }

/// Round to nearest, ties to even; NaN stays NaN. Branch-free, so that loops over it vectorise.
inline BFloat16 to_bf16(float x) {
  const auto u = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
  const std::uint32_t quiet_nan = (u >> 16) | 0x40u;
  const bool is_nan = (u & 0x7fffffffu) > 0x7f800000u;
  return {static_cast<std::uint16_t>(is_nan ? quiet_nan : rounded)};
}

/// Bytes of one stored element.
constexpr std::size_t size_of(DType dtype) { return dtype == DType::fp32 ? 4 : 2; }

/// Unit roundoff: the largest relative error of rounding a real number in the normal range to `dtype`.
constexpr double unit_roundoff(DType dtype) { return dtype == DType::fp32 ? 0x1p-24 : 0x1p-8; }

/// Smallest positive normal number; fp32 and bf16 share their exponent range.
inline constexpr double kSmallestNormal = std::numeric_limits<float>::min();

std::string_view to_string(DType dtype);
std::string_view to_string(Math math);
/// Empty if `text` names no type.
std::optional<DType> parse_dtype(std::string_view text);
std::optional<Math> parse_math(std::string_view text);

}  // namespace ringside
