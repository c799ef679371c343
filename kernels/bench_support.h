// Operands and rates for the kernels' benchmarks.
#pragma once

#include <benchmark/benchmark.h>

#include <random>
#include <vector>

#include "kernels/cpu/memory_rows.h"
#include "kernels/device.h"
#include "kernels/fma_peak.h"

namespace ringside {

/// A tensor of standard normal values, the same in every run.
inline Tensor normal_tensor(Device& device, const Shape& shape, DType dtype, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<std::size_t>(shape.size()));
  for (float& x : values) x = normal(generator);
  const Tensor full = device.allocate(shape, DType::fp32);
  device.upload(std::as_bytes(std::span(values)), full);
  const Tensor result = device.allocate(shape, dtype);
  device.copy(full, result);
  return result;
}

/// Reports FLOPs an iteration as GFLOP/s, and `useful` and `executed` as shares of the FMA peak, measured
/// now.
inline void report_speed(benchmark::State& state, double useful, double executed) {
  const double peak = measure_fma_peak() * 1e9;
  using benchmark::Counter;
  constexpr auto rate = Counter::kIsIterationInvariantRate;
  state.counters["useful_GFLOP/s"] = Counter(useful * 1e-9, rate);
  state.counters["useful/peak"] = Counter(useful / peak, rate);
  state.counters["executed/peak"] = Counter(executed / peak, rate);
  state.counters["peak_GFLOP/s"] = peak * 1e-9;
}

}  // namespace ringside
