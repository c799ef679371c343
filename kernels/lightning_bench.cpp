// Benchmarks linear attention with decay on one rank. Arguments: tokens, bf16.
#include "kernels/bench_support.h"
#include "kernels/cpu/tiles.h"
#include "reference/problem.h"

namespace ringside {
namespace {

constexpr Index kHeads = 12;
constexpr Index kDim = 128;

struct Setup {
  explicit Setup(const benchmark::State& state)
      : tokens(state.range(0)), dtype(state.range(1) != 0 ? DType::bf16 : DType::fp32) {
    device->fill(state_in, 0);
  }

  Tensor normal(unsigned seed) { return normal_tensor(*device, shape, dtype, seed); }
  Tensor state_tensor() { return device->allocate({1, kHeads, kDim, kDim}, DType::fp32); }

  // With block B and T tokens over all heads: T(2B·2d + 4d²) forward, T(2B·5d + 10d²) backward, of which
  // three quarters of the B terms are executed, as scores are causal. Useful work halves them and counts 8d²
  // in backward, as the states could have been kept.
  double flops(double block_terms, double state_terms, double share) const {
    const auto total = static_cast<double>(kHeads * tokens);
    const auto d = static_cast<double>(kDim);
    return total * (share * 2 * CpuTiles::kBlock * block_terms * d + state_terms * d * d);
  }
  void forward() {
    device->fill(state_out, 0);
    device->lightning_forward({q, k, v, slopes}, state_out, o);
  }
  void backward() {
    device->fill(dstate, 0);
    device->lightning_backward({q, k, v, slopes}, dout, state_in, dstate, dq, dk, dv);
  }

  Index tokens;
  DType dtype;
  std::unique_ptr<Device> device = make_cpu_device();
  Shape shape{1, kHeads, tokens, kDim};
  std::vector<float> slopes = alibi_slopes(kHeads);
  Tensor q = normal(1), k = normal(2), v = normal(3), dout = normal(4);
  Tensor o = normal(5), dq = normal(5), dk = normal(5), dv = normal(5);
  Tensor state_in = state_tensor(), state_out = state_tensor(), dstate = state_tensor();
};

void lightning_forward(benchmark::State& state) {
  Setup setup(state);
  for (auto _ : state) setup.forward();
  report_speed(state, setup.flops(2, 4, 0.5), setup.flops(2, 4, 0.75));
}

void lightning_backward(benchmark::State& state) {
  Setup setup(state);
  for (auto _ : state) setup.backward();
  report_speed(state, setup.flops(5, 8, 0.5), setup.flops(5, 10, 0.75));
}

void lightning_both(benchmark::State& state) {
  Setup setup(state);
  for (auto _ : state) {
    setup.forward();
    setup.backward();
  }
  report_speed(state, setup.flops(7, 12, 0.5), setup.flops(7, 14, 0.75));
}

void sizes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"n", "bf16"})
      ->Args({2048, 0})
      ->Args({2048, 1})
      ->Args({8192, 0})
      ->Unit(benchmark::kMillisecond);
}
BENCHMARK(lightning_forward)->Apply(sizes);
BENCHMARK(lightning_backward)->Apply(sizes);
BENCHMARK(lightning_both)->Apply(sizes);

}  // namespace
}  // namespace ringside
