// Storage types and their conversions, for device code too.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace ringside {

/// How an element is stored. Accumulation is fp32 whatever the storage.
enum class DType { fp32, bf16, fp16 };

/// How matrix products treat their operands: as they are; truncated to TF32 as tensor cores do; or rounded to
/// bf16, as kernels do that feed bf16 tensor cores (probabilities and score gradients too).
enum class Math { fp32, tf32, bf16 };

/// bfloat16 storage: the upper half of an IEEE binary32.
struct BFloat16 {
  std::uint16_t bits = 0;
};

/// IEEE binary16 storage: 5 bits of exponent, 10 of fraction, denormals down to 2^-24.
struct Float16 {
  std::uint16_t bits = 0;
};

// Conversions are branch-free, so that loops over them vectorise, and the same in a thread that flushes
// denormals: no float operand or result here is a denormal that matters.

/// `a` if `condition`, else `b`, by masks: for values that a compiler would rather compute in a branch.
constexpr std::uint32_t select(bool condition, std::uint32_t a, std::uint32_t b) {
  const std::uint32_t mask = 0u - static_cast<std::uint32_t>(condition);
  return (a & mask) | (b & ~mask);
}

/// Exact.
constexpr float to_float(float x) { return x; }
constexpr float to_float(BFloat16 x) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(x.bits) << 16);
}
constexpr float to_float(Float16 x) {
  const std::uint32_t magnitude = x.bits & 0x7fffu;
  // 2^-24 is the last place of a denormal; 112 = 127 - 15 is the difference of the exponents' biases, and
  // again that of the exponents that stand for inf and NaN.
  const auto denormal =
      std::bit_cast<std::uint32_t>(static_cast<float>(static_cast<std::int32_t>(magnitude)) * 0x1p-24f);
  const std::uint32_t bias = magnitude >= 0x7c00u ? 224u << 23 : 112u << 23;
  const std::uint32_t bits = select(magnitude < 0x400u, denormal, (magnitude << 13) + bias);
  return std::bit_cast<float>(bits | static_cast<std::uint32_t>(x.bits & 0x8000u) << 16);
}

/// Round to nearest, ties to even; NaN stays NaN.
constexpr BFloat16 to_bf16(float x) {
  const auto u = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
  const std::uint32_t quiet_nan = (u >> 16) | 0x40u;
  const bool is_nan = (u & 0x7fffffffu) > 0x7f800000u;
  return {static_cast<std::uint16_t>(is_nan ? quiet_nan : rounded)};
}

/// Likewise; infinite from 65520 on, half way between the largest finite number and 2^16.
constexpr Float16 to_fp16(float x) {
  const auto u = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t magnitude = u & 0x7fffffffu;
  const std::uint32_t rounded = (magnitude - (112u << 23) + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  const std::uint32_t normal = rounded < 0x7c00u ? rounded : 0x7c00u;
  // 2^-24, the last place of a denormal, is also that of 0.5 in fp32: the sum's own rounding is the one
  // wanted, and the fraction holds the result.
  const std::uint32_t denormal = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) -
                                 std::bit_cast<std::uint32_t>(0.5f);
  const std::uint32_t quiet_nan = 0x7e00u | (magnitude >> 13 & 0x3ffu);
  const std::uint32_t finite = select(magnitude < (113u << 23), denormal, normal);
  const std::uint32_t bits = select(magnitude > 0x7f800000u, quiet_nan, finite);
  return {static_cast<std::uint16_t>(bits | (u >> 16 & 0x8000u))};
}

/// Rounded to the storage type T: float, BFloat16 or Float16.
template <typename T>
constexpr T from_float(float x) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    return to_bf16(x);
  } else if constexpr (std::is_same_v<T, Float16>) {
    return to_fp16(x);
  } else {
    return x;
  }
}

/// Calls f(T{}), T the type that stores elements of `dtype`: the one place where a runtime dtype becomes a
/// type.
template <typename F>
decltype(auto) with_type(DType dtype, F&& f) {
  if (dtype == DType::bf16) return f(BFloat16{});
  if (dtype == DType::fp16) return f(Float16{});
  return f(float{});
}

/// `x` as it comes back from storage in `dtype`.
inline float rounded_to(DType dtype, float x) {
  return with_type(dtype, [x]<typename T>(T) { return to_float(from_float<T>(x)); });
}

/// What a tensor core makes of an fp32 operand in TF32: the last 13 of 23 bits of the fraction are dropped.
/// NaN stays NaN, though the bits that made it one may go.
constexpr float truncated_to_tf32(float x) {
  const auto u = std::bit_cast<std::uint32_t>(x);
  const bool is_nan = (u & 0x7fffffffu) > 0x7f800000u;
  return std::bit_cast<float>((u & 0xffffe000u) | (is_nan ? 0x400000u : 0u));
}

/// Bytes of one stored element.
constexpr std::size_t size_of(DType dtype) { return dtype == DType::fp32 ? 4 : 2; }

}  // namespace ringside
