// The machine's fp32 FMA peak, measured: what a kernel's speed is a share of.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>

namespace ringside {

/// GFLOP/s of the calling thread's fused multiply-adds on independent vector registers (an FMA is 2 FLOPs):
/// the median of some short runs, about 30 ms in all. A core's clock moves with its neighbours' load: measure
/// it right beside what is compared with it.
inline double measure_fma_peak() {
#if defined(__AVX512F__)
  constexpr int kBytes = 64;
#elif defined(__AVX__)
  constexpr int kBytes = 32;
#else
  constexpr int kBytes = 16;
#endif
  using Vector [[gnu::vector_size(kBytes)]] = float;
  constexpr int kLanes = kBytes / static_cast<int>(sizeof(float));
  constexpr int kChains = 12;  // latency times throughput on current cores is 8 to 10
  constexpr int kSteps = 50000;
  using Clock = std::chrono::steady_clock;
  std::array<double, 21> speeds{};
  for (double& speed : speeds) {
    Vector x[kChains];
    for (int c = 0; c < kChains; ++c) x[c] = Vector{} + static_cast<float>(c);  // distinct: nothing to share
    Vector factor = Vector{} + 0.5f;
    Vector term = Vector{} + 1.0f;
    const auto begin = Clock::now();
    for (int step = 0; step < kSteps; ++step) {
#pragma GCC unroll 12
      for (int c = 0; c < kChains; ++c) x[c] = factor * x[c] + term;
    }
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    for (int c = 0; c < kChains; ++c) asm volatile("" : : "m"(x[c]));  // the results are wanted
    speed = 2e-9 * kLanes * kChains * kSteps / seconds;
  }
  std::ranges::nth_element(speeds, speeds.begin() + speeds.size() / 2);
  return speeds[speeds.size() / 2];
}

}  // namespace ringside
