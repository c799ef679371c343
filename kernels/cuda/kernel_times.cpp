// kernel_times [--json FILE] [--device NAME] [--tokens N,…]: times of the attention kernels at b 2, h 12, d =
// e 128, bf16 tensors and products, against what the machine can do at most. Each kernel's outputs are
// poisoned first (or zero, where it adds to them), then a few of their rows are held against fp64 on the
// host, then it is timed on random data. Exit status: 0, 1 if a row is wrong or an operation fails, 2 wrong
// usage, 77 no such device here.
#include <fmt/format.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <limits>
#include <string>

#include "kernels/cuda/host_rows.h"
#include "kernels/cuda/timing.h"

namespace ringside {
namespace {

constexpr Index kBatch = 2, kHeads = 12, kDim = 128;
constexpr Index kBlock = 256;  ///< tokens of a block of the chunk-parallel kernels
/// What a row may be off, relative to its norm. Operands of each product are rounded to bf16, 2^-9 relative
/// at most, independently of each other: a chain of three such products and an output in bf16 is off by about
/// 4·2^-9/sqrt(3) = 0.0045 when it is right; a wrong exponent, scale or mask by 0.1 and more.
constexpr double kSame = 0.01;
/// Ceilings of an H200 as measured elsewhere: a bf16 product of 8192³, and a copy.
constexpr double kStatedTflops = 790, kStatedGBs = 4300;

struct Row {
  std::string kernel;
  Index tokens = 0;
  Times times{};
  double flops = 0, bytes = 0;  ///< useful ones, and the fewest that a pass must move
  double error = 0;             ///< largest relative one of the rows that were looked at
  std::string failure{};        ///< what an operation said
};

struct Ceilings {
  double tflops = 0, gbs = 0;
  /// The least milliseconds.
  double floor_ms(const Row& row) const {
    return std::max(row.flops / tflops * 1e-9, row.bytes / gbs * 1e-6);
  }
};

/// Standard normal values from a table of 2^16 of them: many are needed.
class Normal {
 public:
  explicit Normal(unsigned seed) : generator_(seed), table_(65536) {
    std::normal_distribution<float> normal;
    std::mt19937 values(1);
    for (BFloat16& x : table_) x = to_bf16(normal(values));
  }
  std::vector<BFloat16> draw(Index count) {
    std::vector<BFloat16> drawn(static_cast<std::size_t>(count));
    for (BFloat16& x : drawn) x = table_[generator_() >> 48];
    return drawn;
  }

 private:
  std::mt19937_64 generator_;
  std::vector<BFloat16> table_;
};

/// Inputs and outputs of one pass.
struct Tensors {
  Tensor q, k, v, dout;
};

/// The kernels of one sequence length.
class Bench {
 public:
  Bench(Device& device, Timer& timer, Index tokens, std::vector<Row>& rows)
      : device_(device), timer_(timer), tokens_(tokens), rows_(rows) {
    const Index count = kBatch * kHeads * tokens * kDim;
    // So many sets that what one call leaves in the cache is of no use to the next.
    constexpr Index kCache = Index{64} << 20;
    const Index sets = std::max<Index>(1, (3 * kCache) / (4 * 2 * count));
    Normal normal(3);
    for (Index set = 0; set < std::min<Index>(sets, 8); ++set) {
      HostProblem host{.tokens = tokens, .dim = kDim};
      for (auto* x : {&host.q, &host.k, &host.v, &host.dout}) *x = normal.draw(count);
      sets_.push_back({upload(host.q), upload(host.k), upload(host.v), upload(host.dout)});
      if (set == 0) problem_ = std::move(host);
    }
    for (Index head = 0; head < kHeads; ++head) {
      slopes_.push_back(std::exp2(-8 * static_cast<float>(head + 1) / static_cast<float>(kHeads)));
    }
  }

  void softmax() {
    problem_.slopes.clear();
    const Positions positions = {{0, 1, tokens_}};
    const auto block = [&](int call) {
      const Tensors& x = set(call);
      return SoftmaxBlock{x.q, x.k, x.v, positions, positions, {.causal = true}, scale()};
    };
    const auto pairs = static_cast<double>(kBatch * kHeads) * static_cast<double>(tokens_) *
                       static_cast<double>(tokens_ + 1) / 2;
    const Tensor o = poisoned(kDim, DType::fp32), lse = poisoned(1, DType::fp32);
    const bool forward = run(
        {.kernel = "softmax forward",
         .tokens = tokens_,
         .flops = 2 * pairs * 2 * kDim,
         .bytes = elements() * (3 * 2 + 4)},
        [&](int call) { device_.softmax_forward(block(call), o, lse); },
        [&] { return std::max(error_of(o, first_of), everywhere(lse)); });
    if (!forward) return;
    device_.softmax_forward(block(0), o, lse);  // those of the set that is looked at
    const Tensor delta = poisoned(1, DType::fp32);
    const Tensor dq = zeros(kDim), dk = zeros(kDim), dv = zeros(kDim);
    run(
        {.kernel = "softmax backward",
         .tokens = tokens_,
         .flops = 2 * pairs * 5 * kDim,
         .bytes = elements() * (4 * 2 + 4 * 4)},
        [&](int call) {
          // o and lse are another set's after the first call, which changes no time.
          device_.softmax_delta(o, set(call).dout, delta);
          device_.softmax_backward(block(call), set(call).dout, lse, delta, dq, dk, dv);
        },
        [&] { return gradient_error(dq, dk, dv); });
  }

  void lightning() {
    problem_.slopes.clear();
    for (Index matrix = 0; matrix < kBatch * kHeads; ++matrix) {
      problem_.slopes.push_back(static_cast<double>(slopes_[static_cast<std::size_t>(matrix % kHeads)]));
    }
    const auto chunk = [&](int call) {
      const Tensors& x = set(call);
      return LightningChunk{.q = x.q, .k = x.k, .v = x.v, .slopes = slopes_};
    };
    const auto tokens = static_cast<double>(kBatch * kHeads * tokens_);
    // In blocks of 64, as in README.md: the useful work of a pass.
    const double forward_flops = tokens * (64 * 2 * kDim + 4 * kDim * kDim);
    const double backward_flops = tokens * (64 * 5 * kDim + 8 * kDim * kDim);
    const Shape state_shape{kBatch, kHeads, kDim, kDim};
    {
      const Tensor o = poisoned(kDim, DType::bf16), state = zeros_of(state_shape);
      run(
          {.kernel = "lightning forward",
           .tokens = tokens_,
           .flops = forward_flops,
           .bytes = elements() * 4 * 2},
          [&](int call) { device_.lightning_forward(chunk(call), state, o); },
          [&] { return error_of(o, first_of); });
    }
    {
      const Tensor dq = poisoned(kDim, DType::bf16), dk = poisoned(kDim, DType::bf16),
                   dv = poisoned(kDim, DType::bf16);
      const Tensor state = zeros_of(state_shape), dstate = zeros_of(state_shape);
      run(
          {.kernel = "lightning backward",
           .tokens = tokens_,
           .flops = backward_flops,
           .bytes = elements() * 7 * 2},
          [&](int call) {
            device_.lightning_backward(chunk(call), set(call).dout, state, dstate, dq, dk, dv);
          },
          [&] { return gradient_error(dq, dk, dv); });
    }
    const Tensor o = poisoned(kDim, DType::bf16), none = zeros_of(state_shape), total = zeros_of(state_shape);
    const Index blocks = (tokens_ + kBlock - 1) / kBlock;
    const Tensor states = device_.allocate({kBatch, kHeads, blocks * kDim, kDim}, DType::fp32);
    run(
        {.kernel = "lightning forward, blocks",
         .tokens = tokens_,
         .flops = forward_flops,
         .bytes = elements() * 4 * 2},
        [&](int call) {
          device_.lightning_states(set(call).k, set(call).v, slopes_, {}, kBlock, Toward::end, states);
          device_.lightning_scan(states, slopes_, {}, tokens_, kBlock, Toward::end, total);
          device_.lightning_forward_blocks(chunk(call), {.own = states, .incoming = none, .block = kBlock},
                                           o);
        },
        [&] { return error_of(o, first_of); });
  }

 private:
  static HostRow first_of(const HostProblem& p, Index matrix, Index token) {
    return o_and_dq(p, matrix, token).first;
  }

  static float scale() { return 1 / std::sqrt(static_cast<float>(kDim)); }
  double elements() const { return static_cast<double>(kBatch * kHeads * tokens_ * kDim); }
  const Tensors& set(int call) const { return sets_[static_cast<std::size_t>(call) % sets_.size()]; }

  Tensor upload(const std::vector<BFloat16>& values) {
    const Tensor x = device_.allocate({kBatch, kHeads, tokens_, kDim}, DType::bf16);
    device_.upload(std::as_bytes(std::span(values)), x);
    return x;
  }
  Tensor filled(const Shape& shape, DType dtype, float value) {
    const Tensor x = device_.allocate(shape, dtype);
    device_.fill(x, value);
    return x;
  }
  Tensor poisoned(Index dim, DType dtype) {
    return filled({kBatch, kHeads, tokens_, dim}, dtype, std::numeric_limits<float>::quiet_NaN());
  }
  Tensor zeros_of(const Shape& shape) { return filled(shape, DType::fp32, 0); }
  Tensor zeros(Index dim) { return zeros_of({kBatch, kHeads, tokens_, dim}); }

  /// Infinite if an element is not a finite number, else 0.
  static double everywhere(const Tensor& x) { return finite(downloaded(x)) ? 0 : INFINITY; }
  static bool finite(const std::vector<float>& values) {
    return std::ranges::all_of(values, [](float value) { return std::isfinite(value); });
  }
  static std::vector<float> downloaded(const Tensor& x) {
    std::vector<std::byte> host(x.size_bytes());
    x.device().download(x, host);
    std::vector<float> values;
    values.reserve(static_cast<std::size_t>(x.shape().size()));
    with_type(x.dtype(), [&]<typename T>(T) {
      const auto* data = reinterpret_cast<const T*>(host.data());
      for (Index i = 0; i < x.shape().size(); ++i) values.push_back(to_float(data[i]));
    });
    return values;
  }
  /// ‖row − truth‖ / ‖truth‖ of a row of `values`: [matrices, tokens, dim].
  double row_error(const std::vector<float>& values, Index matrix, Index token, const HostRow& truth) const {
    const float* const row = values.data() + (matrix * tokens_ + token) * kDim;
    double difference = 0, norm = 0;
    for (std::size_t i = 0; i < truth.size(); ++i) {
      difference += std::pow(static_cast<double>(row[i]) - truth[i], 2);
      norm += truth[i] * truth[i];
    }
    return std::sqrt(difference / norm);
  }
  template <typename Truth>
  double error_of(const Tensor& x, const Truth& truth) const {
    const std::vector<float> values = downloaded(x);
    if (!finite(values)) return INFINITY;
    double worst = 0;
    for (const auto& [matrix, token] : places()) {
      const double error = row_error(values, matrix, token, truth(problem_, matrix, token));
      if (!(error <= worst)) worst = error;
    }
    return worst;
  }
  double gradient_error(const Tensor& dq, const Tensor& dk, const Tensor& dv) const {
    // The first token's dq is 0 in softmax attention: roundings have nothing to be relative to.
    double worst = error_of(dq, [](const HostProblem& p, Index matrix, Index token) {
      return o_and_dq(p, matrix, token).second;
    });
    const std::vector<float> dk_values = downloaded(dk), dv_values = downloaded(dv);
    if (!finite(dk_values) || !finite(dv_values)) return INFINITY;
    for (const Index matrix : {Index{0}, kBatch * kHeads - 1}) {
      const Index token = tokens_ - std::min<Index>(tokens_, 40);
      const auto [dk_row, dv_row] = dk_and_dv(problem_, matrix, token);
      for (const double error :
           {row_error(dk_values, matrix, token, dk_row), row_error(dv_values, matrix, token, dv_row)}) {
        if (!(error <= worst)) worst = error;
      }
    }
    return worst;
  }
  /// Matrices and tokens that are looked at.
  std::vector<std::pair<Index, Index>> places() const {
    const Index last = kBatch * kHeads - 1;
    return {{0, 1}, {5, tokens_ / 2 + 3}, {11, 3 * tokens_ / 4}, {kHeads, tokens_ - 1}, {last, tokens_ - 1}};
  }

  /// Calls once, looks at what came, then times. False if it failed.
  template <typename Call, typename Error>
  bool run(Row row, const Call& call, const Error& error) {
    try {
      call(0);
      row.error = error();
      const int samples = tokens_ >= 32768 ? 9 : 25;
      row.times = timer_.measure(call, samples, tokens_ >= 8192 ? 1 : 4);
      device_.synchronize();
    } catch (const std::exception& e) {
      row.failure = e.what();
    }
    rows_.push_back(row);
    fmt::print(stderr, "{} {}\n", row.kernel, row.tokens);
    return row.failure.empty();
  }

  Device& device_;
  Timer& timer_;
  Index tokens_;
  std::vector<Row>& rows_;
  std::vector<Tensors> sets_;
  HostProblem problem_;  ///< of the first set
  std::vector<float> slopes_;
};

struct Options {
  std::string json{}, device = "cuda";
  std::vector<Index> tokens = {2048, 8192, 32768};
};

bool wrong(const Row& row) { return !row.failure.empty() || !(row.error <= kSame); }

std::string table(const std::vector<Row>& rows, const Ceilings& measured) {
  std::string text = fmt::format("{:<26} {:>6} {:>10} {:>7} {:>8} {:>8} {:>8} {:>8}  {}\n", "kernel", "n",
                                 "median ms", "spread", "TFLOP/s", "GB/s", "floor", "stated", "rel. error");
  for (const Row& row : rows) {
    if (!row.failure.empty()) {
      text += fmt::format("{:<26} {:>6} FAILED: {}\n", row.kernel, row.tokens, row.failure);
      continue;
    }
    const Times& t = row.times;
    const Ceilings stated{kStatedTflops, kStatedGBs};
    const auto share = [&](const Ceilings& c) {
      return fmt::format("{:.1f}%", 100 * c.floor_ms(row) / t.median);
    };
    text +=
        fmt::format("{:<26} {:>6} {:>10.4f} {:>6.1f}% {:>8.1f} {:>8.0f} {:>8} {:>8}  {:.1e}{}\n", row.kernel,
                    row.tokens, t.median, 100 * (t.most - t.least) / t.median, row.flops / t.median * 1e-9,
                    row.bytes / t.median * 1e-6, measured.gbs > 0 ? share(measured) : "-", share(stated),
                    row.error, wrong(row) ? "  WRONG" : "");
  }
  return text + fmt::format(
                    "floor: of the larger of useful FLOPs at {:.0f} TFLOP/s and least bytes at {:.0f} GB/s, "
                    "measured now; stated: at {:.0f} and {:.0f}\n",
                    measured.tflops, measured.gbs, kStatedTflops, kStatedGBs);
}

/// The form that baselines/peers/gpu_peers.py writes too.
std::string json(const std::vector<Row>& rows, const Ceilings& measured) {
  std::string text = fmt::format("{{\"ceilings\": {{\"tflops\": {:.1f}, \"gbs\": {:.1f}}},\n \"rows\": [",
                                 measured.tflops, measured.gbs);
  const char* comma = "\n";
  for (const Row& row : rows) {
    if (!row.failure.empty()) continue;
    text += fmt::format(
        "{}  {{\"source\": \"ringside\", \"kernel\": \"{}\", \"tokens\": {}, \"median_ms\": {:.6f}, "
        "\"least_ms\": {:.6f}, \"most_ms\": {:.6f}, \"samples\": {}, \"flops\": {:.6e}, \"bytes\": {:.6e}, "
        "\"error\": {}}}",
        comma, row.kernel, row.tokens, row.times.median, row.times.least, row.times.most, row.times.samples,
        row.flops, row.bytes, std::isfinite(row.error) ? fmt::format("{:.3e}", row.error) : "null");
    comma = ",\n";
  }
  return text + "\n ]}\n";
}

int kernel_times(const Options& options) {
  const auto all = devices();
  const auto entry = std::ranges::find(all, options.device, &DeviceEntry::name);
  if (entry == all.end() || entry->unavailable) {
    fmt::print(stderr, "kernel_times: {}: {}\n", options.device,
               entry == all.end() ? "no such device" : *entry->unavailable);
    return entry == all.end() ? 2 : 77;
  }
  const auto device = entry->make({.math = Math::bf16});
  std::vector<Row> rows;
  Ceilings measured;
  {
    Timer timer(*device);
    if (options.device == "cuda") measured = {timer.product_rate(8192), timer.copy_rate()};
    for (const Index tokens : options.tokens) {
      Bench bench(*device, timer, tokens, rows);
      bench.softmax();
      bench.lightning();
    }
  }
  fmt::print("{}", table(rows, measured));
  if (!options.json.empty() && !(std::ofstream(options.json) << json(rows, measured)).flush()) {
    fmt::print(stderr, "kernel_times: {}: {}\n", options.json, std::strerror(errno));
    return 2;
  }
  return std::ranges::none_of(rows, wrong) ? 0 : 1;
}

}  // namespace
}  // namespace ringside

int main(int argc, char** argv) {
  ringside::Options options;
  for (int i = 1; i < argc; i += 2) {
    const std::string name = argv[i], value = i + 1 < argc ? argv[i + 1] : "";
    if (name == "--json" && !value.empty()) {
      options.json = value;
    } else if (name == "--device" && !value.empty()) {
      options.device = value;
    } else if (name == "--tokens" && !value.empty()) {
      options.tokens.clear();
      for (const char* at = value.c_str(); at != nullptr; at = std::strchr(at, ',')) {
        at += *at == ',' ? 1 : 0;
        options.tokens.push_back(std::max<ringside::Index>(8, std::atoll(at)));
      }
    } else {
      fmt::print(stderr, "usage: kernel_times [--json FILE] [--device NAME] [--tokens N,...]\n");
      return 2;
    }
  }
  try {
    return ringside::kernel_times(options);
  } catch (const std::exception& error) {
    fmt::print(stderr, "kernel_times: {}\n", error.what());
    return 1;
  }
}
