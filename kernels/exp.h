// The exponential of the kernels: branch-free, so that loops over it vectorise.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>

namespace ringside {

/// e^x in fp32, within one ulp (0.996 measured, exp_test.cpp). e^-inf = 0; results below the smallest normal
/// number are 0; above the largest finite, +inf; NaN stays NaN.
///
/// x = n·ln2 + r with |r| <= ln2/2 (Cody and Waite, ln2 in two parts, so that n·kLn2High is exact), and
/// e^r = 1 + r + r²·p(r), p the minimax polynomial of degree 4 for the relative error of e^r on that
/// interval.
constexpr float exp_fp32(float x) {
  constexpr float kLog2E = 0x1.715476p+0f;
  constexpr float kLn2High = 0x1.63p-1f;  // 9 bits
  constexpr float kLn2Low = -0x1.bd0106p-13f;
  constexpr float kRound = 0x1.8p+23f;          // adding it rounds to an integer in the low bits
  constexpr float kSmallest = -0x1.5d589ep+6f;  // ln 2^-126, rounded up
  constexpr float kLargest = 0x1.62e42ep+6f;    // ln(largest finite), rounded down
  const float shifted = x * kLog2E + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * kLn2High) - n * kLn2Low;
  float p = 0x1.6a23d0p-10f;
  p = p * r + 0x1.123a20p-7f;
  p = p * r + 0x1.5558f2p-5f;
  p = p * r + 0x1.555492p-3f;
  p = p * r + 0x1.fffffcp-2f;
  p = (p * r) * r + r;
  p = p + 1.0f;
  // e^r·2^n by adding n to the exponent field. Selections by masks, as conditional expressions become
  // branches.
  const auto bits = [](float f) { return std::bit_cast<std::uint32_t>(f); };
  const auto mask = [](bool condition) { return -static_cast<std::uint32_t>(condition); };
  const std::uint32_t y = bits(p) + ((bits(shifted) - bits(kRound)) << 23);
  const std::uint32_t beyond = bits(x * std::numeric_limits<float>::infinity());  // +inf, or NaN if x is NaN
  const std::uint32_t finite = mask(x <= kLargest);
  return std::bit_cast<float>(((y & finite) | (beyond & ~finite)) & mask(!(x < kSmallest)));
}

}  // namespace ringside
