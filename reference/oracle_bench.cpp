// Benchmarks the fp64 oracles beside the machine's fp64 peak.
#include <benchmark/benchmark.h>
#include <malloc.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <vector>

#include "reference/lightning_oracle.h"
#include "reference/softmax_oracle.h"

namespace ringside {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// GFLOP/s of independent fp64 multiply-adds kept in registers, best of five; a multiply-add is 2 FLOPs.
double fma_peak() {
  constexpr int kLanes = __BIGGEST_ALIGNMENT__ / sizeof(double);
  using Vector [[gnu::vector_size(kLanes * sizeof(double))]] = double;
  // Latency times throughput of today's cores, and few enough for 16 registers.
  constexpr std::size_t kChains = 10;
  constexpr int kSteps = 2'000'000;
  static const double best = [] {
    double rate = 0;
    for (int round = 0; round < 5; ++round) {
      Vector factor = Vector{} + 0.999, term = Vector{} + 0.001;
      benchmark::DoNotOptimize(factor);
      benchmark::DoNotOptimize(term);
      std::array<Vector, kChains> sums{};
      const auto start = Clock::now();
      for (int step = 0; step < kSteps; ++step) {
#pragma GCC unroll 10
        for (std::size_t chain = 0; chain < kChains; ++chain) sums[chain] = sums[chain] * factor + term;
      }
      Vector total = sums[0];
#pragma GCC unroll 10
      for (std::size_t chain = 1; chain < kChains; ++chain) total += sums[chain];
      benchmark::DoNotOptimize(total);
      rate = std::max(rate, 2.0 * kLanes * double{kChains} * kSteps / seconds_since(start) * 1e-9);
    }
    return rate;
  }();
  return best;
}

/// A made-up problem with its operands: uniform in [-1, 1), from a fixed linear congruential sequence.
struct Sample {
  Problem problem;
  std::vector<float> q, k, v, dout;

  Sample(Operator op, Index seq, Index dim)
      : problem{.op = op,
                .seq = seq,
                .head_dim = dim,
                .value_dim = dim,
                .scale = default_scale(dim),
                .slopes = {}} {
    if (op == Operator::lightning) problem.slopes = alibi_slopes(1);
    std::uint64_t state = 1;
    for (auto* x : {&q, &k, &v, &dout}) {
      for (Index i = 0; i < seq * dim; ++i) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        x->push_back(static_cast<float>(static_cast<std::int32_t>(state >> 32)) * 0x1p-31f);
      }
    }
  }
  Operands operands() const {
    return {{q.data(), problem.q_shape()},
            {k.data(), problem.k_shape()},
            {v.data(), problem.v_shape()},
            {dout.data(), problem.o_shape()}};
  }
};

using Oracle = Truth (*)(const Problem&, const Operands&, int threads, const Arithmetic&);

/// state.range: n, d = e. One head, one thread; `flops` of a call: those of its matrix products, without what
/// blocks on the diagonal compute for pairs that do not see each other.
void run(benchmark::State& state, Operator op, Oracle oracle, double flops) {
  // Memory as the program keeps it (harness/main.cpp).
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 512 << 20);
  mallopt(M_TOP_PAD, 64 << 20);
  const Sample sample(op, state.range(0), state.range(1));
  const std::clock_t start = std::clock();  // processor time: others may use this machine
  for (auto _ : state) benchmark::DoNotOptimize(oracle(sample.problem, sample.operands(), 1, {}));
  const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  const double rate = static_cast<double>(state.iterations()) * flops / seconds * 1e-9;
  state.counters["GFLOP/s"] = rate;
  state.counters["fma_peak"] = fma_peak();
  state.counters["share"] = rate / fma_peak();
}

double pairs(const benchmark::State& state) {
  const auto n = static_cast<double>(state.range(0));
  return n * (n + 1) / 2;
}

double dim(const benchmark::State& state) { return static_cast<double>(state.range(1)); }

/// n(n+1)/2 pairs × 2·(8d + 6e): 3d + 3e multiply-adds for the values, as many for their errors, 2d for
/// storage.
void softmax(benchmark::State& state) {
  run(state, Operator::softmax, softmax_oracle, pairs(state) * 2 * 14 * dim(state));
}

/// n(n+1)/2 pairs × 2·(6d + 6e): 3d + 3e multiply-adds for the values, as many for their errors.
void lightning_by_pairs(benchmark::State& state) {
  run(state, Operator::lightning, lightning_quadratic, pairs(state) * 2 * 12 * dim(state));
}

/// n tokens × 2·12·d·e: 6·d·e multiply-adds for the values (two states, four reads), as many for their
/// errors.
void lightning_by_states(benchmark::State& state) {
  run(state, Operator::lightning, lightning_recurrent,
      static_cast<double>(state.range(0)) * 2 * 12 * dim(state) * dim(state));
}

BENCHMARK(softmax)->ArgNames({"n", "d"})->Args({512, 64})->Args({2048, 128})->Unit(benchmark::kMillisecond);
BENCHMARK(lightning_by_pairs)
    ->ArgNames({"n", "d"})
    ->Args({512, 64})
    ->Args({2048, 128})
    ->Unit(benchmark::kMillisecond);
BENCHMARK(lightning_by_states)
    ->ArgNames({"n", "d"})
    ->Args({512, 64})
    ->Args({2048, 128})
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace ringside
