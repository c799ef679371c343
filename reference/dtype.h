// Storage types of tensors and the arithmetic of matrix products.
#pragma once

#include <array>
#include <cmath>
#include <limits>
#include <string_view>

#include "reference/storage.h"

namespace ringside {

inline constexpr std::array kDTypes = {DType::fp32, DType::bf16, DType::fp16};
inline constexpr std::array kMaths = {Math::fp32, Math::tf32, Math::bf16};

/// What the error of an honest result depends on, besides the problem.
struct Arithmetic {
  DType storage = DType::fp32;
  Math math = Math::fp32;
};

/// Unit roundoff: the largest relative error of rounding a real number in the normal range to `dtype`.
constexpr double unit_roundoff(DType dtype) {
  return dtype == DType::fp32 ? 0x1p-24 : dtype == DType::bf16 ? 0x1p-8 : 0x1p-11;
}

/// Smallest positive normal number of an fp32 accumulator; bf16 shares its exponent range.
inline constexpr double kSmallestNormal = std::numeric_limits<float>::min();

/// Smallest positive normal number of a storage type. Below it rounding errs by up to unit_roundoff(dtype)
/// times this number (gradual underflow), above by up to unit_roundoff(dtype) times the number rounded.
constexpr double smallest_normal(DType dtype) { return dtype == DType::fp16 ? 0x1p-14 : kSmallestNormal; }

/// The magnitude from which on rounding to nearest gives an infinity: half a place beyond the largest finite
/// number, 65520 in fp16.
constexpr double overflow_threshold(DType dtype) {
  return (2 - unit_roundoff(dtype)) * (dtype == DType::fp16 ? 0x1p15 : 0x1p127);
}

std::string_view to_string(DType dtype);
std::string_view to_string(Math math);

}  // namespace ringside
