#include "harness/run/subject.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <stdexcept>

#include "harness/base/stopwatch.h"
#include "harness/run/recording.h"
#include "harness/run/rounded_partials.h"

namespace ringside {
namespace {

/// The inputs and one pass over them on one device.
class Bench {
 public:
  Bench(const Variant& variant, const Context& context, Index tokens, DType dtype)
      : variant_(variant), context_(context) {
    const auto allocate = [&](Shape shape) {
      shape.tokens = tokens;
      return context.device.allocate(shape, dtype);
    };
    const Problem& problem = context.problem;
    in_ = {allocate(problem.q_shape()), allocate(problem.k_shape()), allocate(problem.v_shape())};
    dout_ = allocate(problem.o_shape());
    if (!variant.cache) return;
    for (const Shape& shape : variant.cache(problem)) {
      in_.cache.push_back(context.device.allocate(shape, DType::fp32));
    }
  }

  void load(const HostInputs& host) {
    each_input(host, [&](const std::vector<std::byte>& values, const Tensor& x) {
      context_.device.upload(values, x);
    });
  }
  /// The same values in the opposite order: other inputs, which take the same time.
  void load_reversed(const HostInputs& host) {
    each_input(host, [&](std::vector<std::byte> values, const Tensor& x) {
      const std::size_t size = size_of(x.dtype());
      std::ranges::reverse(values);  // elements, and the bytes of each
      for (std::size_t at = 0; at < values.size(); at += size) {
        std::ranges::reverse(std::span(values).subspan(at, size));
      }
      context_.device.upload(values, x);
    });
  }

  void forward() {
    forward_ = variant_.forward(context_, in_);
    context_.device.synchronize();
  }
  void backward() {
    grad_ = variant_.backward(context_, in_, forward_, dout_);
    context_.device.synchronize();
  }
  void drop_results() { forward_ = {}, grad_ = {}; }

  PerOut<std::vector<std::byte>> download() const {
    PerOut<std::vector<std::byte>> host;
    const PerOut<Tensor> device = {{forward_.o, grad_.dq, grad_.dk, grad_.dv}};
    for (const Out out : kOuts) {
      require_output(out, device[out]);
      host[out].resize(device[out].size_bytes());
      context_.device.download(device[out], host[out]);
    }
    return host;
  }

 private:
  /// Throws std::logic_error unless the variant gave what it was asked for.
  void require_output(Out out, const Tensor& x) const {
    Shape shape = shape_of(context_.problem, out);
    shape.tokens = in_.q.shape().tokens;
    if (x && x.shape() == shape && x.dtype() == in_.q.dtype()) return;
    const Shape& got = x.shape();
    throw std::logic_error(fmt::format("{} gave {} as [{}, {}, {}, {}] {}, not [{}, {}, {}, {}] {}",
                                       variant_.name, to_string(out), got.batch, got.heads, got.tokens,
                                       got.dim, to_string(x.dtype()), shape.batch, shape.heads, shape.tokens,
                                       shape.dim, to_string(in_.q.dtype())));
  }

  template <typename F>
  void each_input(const HostInputs& host, const F& f) {
    f(host.q, in_.q), f(host.k, in_.k), f(host.v, in_.v), f(host.dout, dout_);
    context_.device.synchronize();
  }

  const Variant& variant_;
  const Context& context_;
  Inputs in_;
  Tensor dout_;
  Forward forward_;
  Gradients grad_;
};

/// What one pass took.
struct PassUse {
  std::int64_t held = 0;  ///< the most device memory at a time, beyond what was held when it began
  std::int64_t peak = 0;  ///< the same with it
  std::int64_t operations = 0;
};

template <typename Pass>
PassUse use_of(Device& device, Recorder& recorder, const Pass& pass) {
  device.reset_peak();
  const std::size_t before = device.memory().live;
  recorder.restart();
  pass();
  const std::size_t peak = device.memory().peak;
  return {.held = static_cast<std::int64_t>(peak - before),
          .peak = static_cast<std::int64_t>(peak),
          .operations = std::ranges::count(recorder.timeline().steps, Step::Kind::compute, &Step::kind)};
}

bool same_bytes(const std::vector<std::byte>& a, const std::vector<std::byte>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

Shares medians(const std::vector<Shares>& iterations) {
  Shares result;
  for (std::size_t i = 0; i < result.of.size(); ++i) {
    std::vector<double> all;
    for (const Shares& iteration : iterations) all.push_back(iteration.of[i]);
    result.of[i] = Timing::of(std::move(all)).median_s;
  }
  return result;
}

/// Rank 0's answer, in all ranks.
bool rank_0_says(bool answer, Communicator& world, Device& device) {
  const Tensor word = device.allocate({1, 1, 1, 1}, DType::fp32);
  device.fill(word, answer ? 1 : 0);
  std::vector<Message> sends, receives;
  if (world.rank() > 0) receives.push_back({0, word});
  for (int rank = 1; world.rank() == 0 && rank < world.size(); ++rank) sends.push_back({rank, word});
  world.exchange(std::move(sends), std::move(receives), "whether to time once more").wait();
  float said = 0;
  device.download(word, std::as_writable_bytes(std::span(&said, 1)));
  return said != 0;
}

}  // namespace

RankRun run_rank(const Runner& runner, const Subject& subject, Communicator& world,
                 const TimingPlan& timing) {
  const Case& c = subject.c;
  const Variant variant =
      c.partials == DType::fp32 ? subject.variant : on_device<RoundedPartials>(subject.variant, c.partials);
  const Index tokens = count(subject.placement.tokens(world.rank()));
  const Problem problem = runner.inputs->change().of(c.local_problem());
  const int local_rank = runner.fleet.rank_on_node(world.rank());
  // Before the group, which may keep tensors of theirs.
  const auto poisoned = runner.device.make({.math = c.math, .poison = true, .local_rank = local_rank});
  const auto device =
      timing.repeat == 0 ? nullptr : runner.device.make({.math = c.math, .local_rank = local_rank});
  auto group = world.split(world.rank() / c.sp, world.rank() % c.sp);
  RankRun run = {.rank = world.rank()};

  Stopwatch watch;
  const auto host = runner.inputs->of(c, subject.placement, world.rank());
  run.measure.inputs_s = watch.lap();
  {
    Recorder recorder;
    RecordingDevice counted(*poisoned, *group, recorder);
    const Context context = {*group, counted, problem};
    Bench bench(variant, context, tokens, c.dtype);
    bench.load(*host);
    const Traffic before = group->traffic();
    world.barrier();
    watch.lap();
    const PassUse forward = use_of(*poisoned, recorder, [&] { bench.forward(); });
    const Traffic between = group->traffic();
    const PassUse backward = use_of(*poisoned, recorder, [&] { bench.backward(); });
    run.measure.memory = {.forward = forward.held, .backward = backward.held};
    run.measure.peak_bytes = std::max(forward.peak, backward.peak);
    run.measure.forward_operations = forward.operations;
    run.measure.backward_operations = backward.operations;
    run.measure.forward = between - before;
    run.measure.backward = group->traffic() - between;
    run.measure.verified_s = watch.lap();
    run.outputs = bench.download();
    run.measure.download_s = watch.lap();
  }
  if (device == nullptr) return run;

  const bool later = !device->in_host_memory();
  Recorder recorder(later && timing.trace ? device.get() : nullptr);
  RecordingDevice recorded_device(*device, *group, recorder);
  Communicator& plain_group = *group;
  RecordingCommunicator recorded_group(std::move(group), recorder);
  const Context recorded = {recorded_group, recorded_device, problem};
  const Context plain = {plain_group, *device, problem};
  const Context& context = later && !timing.trace ? plain : recorded;
  Bench bench(variant, context, tokens, c.dtype);
  bench.load_reversed(*host);
  if (timing.repeat == 1) {  // what it leaves must not be found by the only timed iteration
    bench.forward();
    bench.backward();
  }
  double timed_s = 0;
  std::vector<Shares> iterations;
  for (bool last = false; !last;) {
    const auto done = std::ssize(iterations);
    last = done + 1 == timing.repeat || (done > 0 && !rank_0_says(timed_s < timing.limit_s, world, *device));
    const bool verified = last || done == 1;
    bench.drop_results();
    if (verified) {
      bench.load(*host);
    } else if (done == 2) {
      bench.load_reversed(*host);
    }
    world.barrier();
    recorder.restart();
    run.forward_s.push_back(recorder.record(Step::Kind::pass, "forward", [&] { bench.forward(); }));
    run.forward_backward_s.push_back(
        run.forward_s.back() + recorder.record(Step::Kind::pass, "backward", [&] { bench.backward(); }));
    timed_s += run.forward_backward_s.back();
    iterations.push_back(shares(recorder.timeline()));
    if (!verified) continue;
    watch.lap();
    run.measure.repeats_equal &= std::ranges::equal(bench.download().of, run.outputs.of, same_bytes);
    run.measure.download_s += watch.lap();
  }
  run.timeline = recorder.timeline();
  run.measure.iteration_s = Timing::of(run.forward_backward_s).median_s;
  run.measure.shares = medians(iterations);
  return run;
}

std::vector<RankRun> run_ranks_here(const Runner& runner, const Subject& subject, const TimingPlan& timing,
                                    bool hostile) {
  std::vector<RankRun> runs;
  std::mutex mutex;
  runner.fleet.run(
      subject.c.ranks(),
      [&](Communicator& world) {
        RankRun run = run_rank(runner, subject, world, timing);
        const std::lock_guard lock(mutex);
        runs.push_back(std::move(run));
      },
      hostile);
  std::ranges::sort(runs, {}, &RankRun::rank);
  return runs;
}

}  // namespace ringside
