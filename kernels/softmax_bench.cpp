// Benchmarks softmax attention on one rank. Arguments: tokens, bf16.
#include "kernels/bench_support.h"

namespace ringside {
namespace {

constexpr Index kHeads = 12;
constexpr Index kDim = 128;

struct Setup {
  explicit Setup(const benchmark::State& state)
      : tokens(state.range(0)), dtype(state.range(1) != 0 ? DType::bf16 : DType::fp32) {
    device->softmax_forward(block, o, lse);
    device->softmax_delta(o, dout, delta);
  }

  Tensor normal(unsigned seed) { return normal_tensor(*device, shape, dtype, seed); }
  Tensor result(Index dim) {
    const Tensor x = device->allocate({1, kHeads, tokens, dim}, DType::fp32);
    device->fill(x, 0);
    return x;
  }
  /// 4bhd a visible pair (Dao 2023); executed adds the upper halves of the 64 x 64 tiles on the diagonal.
  double forward_flops(Index first_seen) const {
    return 4.0 * static_cast<double>(kHeads * kDim * (tokens * (tokens + first_seen) / 2));
  }
  void forward() { device->softmax_forward(block, o, lse); }
  void backward() { device->softmax_backward(block, dout, lse, delta, dq, dk, dv); }

  Index tokens;
  DType dtype;
  std::unique_ptr<Device> device = make_cpu_device();
  Shape shape{1, kHeads, tokens, kDim};
  SoftmaxBlock block{.q = normal(1),
                     .k = normal(2),
                     .v = normal(3),
                     .q_positions = {{0, 1, tokens}},
                     .k_positions = {{0, 1, tokens}},
                     .mask = {},
                     .scale = 0.088388347f};
  Tensor dout = normal(4), o = result(kDim), lse = result(1), delta = result(1);
  Tensor dq = result(kDim), dk = result(kDim), dv = result(kDim);
};

void softmax_forward(benchmark::State& state) {
  Setup setup(state);
  for (auto _ : state) setup.forward();
  report_speed(state, setup.forward_flops(1), setup.forward_flops(64));
}

/// Backward counts 2.5 times forward: five products for two.
void softmax_backward(benchmark::State& state) {
  Setup setup(state);
  for (auto _ : state) setup.backward();
  report_speed(state, 2.5 * setup.forward_flops(1), 2.5 * setup.forward_flops(64));
}

void softmax_both(benchmark::State& state) {
  Setup setup(state);
  for (auto _ : state) {
    setup.forward();
    setup.backward();
  }
  report_speed(state, 3.5 * setup.forward_flops(1), 3.5 * setup.forward_flops(64));
}

void sizes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"n", "bf16"})->Args({2048, 0})->Args({2048, 1})->Unit(benchmark::kMillisecond);
}
BENCHMARK(softmax_forward)->Apply(sizes);
BENCHMARK(softmax_backward)->Apply(sizes);
BENCHMARK(softmax_both)->Apply(sizes);

}  // namespace
}  // namespace ringside
