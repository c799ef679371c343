#include "harness/judge/run_case.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <utility>

#include "harness/base/bytes.h"
#include "harness/run/collect.h"
#include "harness/run/measures.h"

namespace ringside {
namespace {

/// The timelines of all ranks, in the root process; elsewhere none. Collective.
std::vector<Timeline> gather_timelines(const std::vector<RankRun>& mine, ProcessGroup& processes) {
  std::vector<std::vector<std::byte>> to(static_cast<std::size_t>(processes.size()));
  for (const RankRun& run : mine) {
    append_bytes(to[0], run.timeline.steps.size());
    append_bytes(to[0], run.timeline.names.size());
    append_bytes<Step>(to[0], run.timeline.steps);
    append_bytes<char>(to[0], run.timeline.names);
  }
  std::vector<Timeline> all;
  for (const auto& from : processes.all_to_all(std::move(to), "timelines of each rank")) {
    for (std::span<const std::byte> rest = from; !rest.empty();) {
      const auto sizes = take_bytes<std::size_t>(rest, 2);
      Timeline& timeline = all.emplace_back(Timeline{.steps = take_bytes<Step>(rest, sizes[0])});
      const auto names = take_bytes<char>(rest, sizes[1]);
      timeline.names.assign(names.begin(), names.end());
    }
  }
  return all;
}

void check_traffic(const Case& c, const Variant& variant, CaseResult& result) {
  const Problem problem = c.local_problem();
  for (int rank = 0; rank < c.ranks(); ++rank) {
    const auto at = static_cast<std::size_t>(rank);
    const PassTraffic expected = variant.traffic(problem, c.dtype, c.sp, rank % c.sp);
    result.expected_traffic.push_back(expected);
    const auto check = [&](std::string_view pass, const Traffic& sent, const Traffic& formula) {
      if (sent == formula) return;
      result.failures.push_back(
          fmt::format("traffic: rank {} sent {} bytes in {} messages and {} collectives in {}; the formula "
                      "says {}, {}, {}",
                      rank, sent.bytes, sent.messages, sent.collectives, pass, formula.bytes,
                      formula.messages, formula.collectives));
    };
    check("forward", result.ranks[at].forward, expected.forward);
    check("backward", result.ranks[at].backward, expected.backward);
  }
}

void check_memory(const Case& c, const Variant& variant, CaseResult& result) {
  const Problem problem = c.local_problem();
  for (int rank = 0; rank < c.ranks(); ++rank) {
    const PassMemory expected = variant.memory(problem, c.dtype, c.sp, rank % c.sp);
    result.expected_memory.push_back(expected);
    const auto check = [&](std::string_view pass, std::int64_t held, std::int64_t formula) {
      if (held == formula || c.partials != DType::fp32) return;  // rounding them takes some of its own
      result.failures.push_back(
          fmt::format("memory: rank {} held {} bytes in {}; the formula says {}", rank, held, pass, formula));
    };
    const PassMemory& held = result.ranks[static_cast<std::size_t>(rank)].memory;
    check("forward", held.forward, expected.forward);
    check("backward", held.backward, expected.backward);
  }
}

void check_repeats(CaseResult& result) {
  for (std::size_t rank = 0; rank < result.ranks.size(); ++rank) {
    if (result.ranks[rank].repeats_equal) continue;
    result.failures.push_back(fmt::format("not repeatable: rank {} gave other bits when run again", rank));
  }
}

/// A verdict that could not have been red is none: every tensor zero by definition, or Gaussian data whose
/// reference is exactly zero in many places of rows that are not zero by definition.
std::string why_mistrusted(const CaseResult& result) {
  const auto& tensors = result.tensors.of;
  if (std::ranges::all_of(tensors,
                          [](const TensorVerdict& v) { return !v.given || tells_nothing(v.stats); })) {
    return "mistrusted: zeros everywhere would have passed as well, so nothing was checked";
  }
  // Of given inputs nobody knows that they tell something: a do of zeros makes every gradient zero.
  const auto gradients = std::span(tensors).last(3);
  if (result.c.fill == Fill::given && std::ranges::any_of(gradients, &TensorVerdict::given) &&
      std::ranges::all_of(gradients,
                          [](const TensorVerdict& v) { return !v.given || tells_nothing(v.stats); })) {
    return "mistrusted: zeros would have passed for every gradient as well; is do zero?";
  }
  for (const Out out : kOuts) {
    if (result.tensors[out].given && result.tensors[out].far_from_honest) {
      return fmt::format("mistrusted: zeros would have passed for {}, and the control run is much nearer",
                         to_string(out));
    }
  }
  if (result.c.fill != Fill::gaussian) return "";
  for (const Out out : kOuts) {
    const TensorStats& s = result.tensors[out].stats;
    if (10 * s.zeros > 3 * s.elements) {
      return fmt::format("mistrusted: {} of {} elements of {} are zero in the reference", s.zeros, s.elements,
                         to_string(out));
    }
  }
  return "";
}

/// A known fault turns the verdict on the tensors round; it excuses no other failure (traffic, memory,
/// repeats).
void meet_expectation(CaseResult& result) {
  if (result.status == Status::fail && result.failures.empty()) {
    result.status = Status::xfail;
    result.reason = "known fault: " + result.c.fault;
  } else if (result.status == Status::pass) {
    result.status = Status::xpass;
    result.failures.push_back(fmt::format(
        "passed, though its row expects fail:{}; if the fault is mended, the row should lose that mark",
        result.c.fault));
  }
}

}  // namespace

Phases& Phases::operator+=(const Phases& other) {
  for (const auto& [name, phase] : kPhases) this->*phase += other.*phase;
  return *this;
}

CaseResult run_case(const Runner& runner, const Subject& subject, const Standard& standard,
                    const RunOptions& options) {
  const Case& c = subject.c;
  const Variant& variant = subject.variant;
  Fleet& fleet = runner.fleet;
  CaseResult result = {.c = c, .oversubscribed = fleet.oversubscribed(c.ranks(), runner.device)};
  Stopwatch watch;
  const std::vector<RankRun> runs = run_ranks_here(runner, subject, options.timing);
  IterationTimes times = share_measures(runs, fleet, result.ranks);
  for (const double seconds : times.forward_backward) result.phases.variant_s += seconds;
  result.repeat = static_cast<int>(times.forward_backward.size());
  result.forward = Timing::of(std::move(times.forward));
  result.forward_backward = Timing::of(std::move(times.forward_backward));
  if (options.timing.repeat > 0) result.timelines = gather_timelines(runs, fleet.processes());
  const double ranks_s = watch.lap();
  RankMeasure slowest;  // in each phase
  for (const RankMeasure& rank : result.ranks) {
    slowest.inputs_s = std::max(slowest.inputs_s, rank.inputs_s);
    slowest.verified_s = std::max(slowest.verified_s, rank.verified_s);
    slowest.download_s = std::max(slowest.download_s, rank.download_s);
  }
  Phases& phases = result.phases;
  phases.inputs_s = slowest.inputs_s;
  phases.variant_s += slowest.verified_s;
  phases.setup_s = std::max(0.0, ranks_s - phases.inputs_s - phases.variant_s - slowest.download_s);

  HostOutputs outputs = collect(runner, subject, runs);
  judge_outputs(measure_all(c, maker(subject, runner.device.block), standard, outputs, true, fleet),
                standard, {{true, true, true, true}}, result);
  check_traffic(c, variant, result);
  check_memory(c, variant, result);
  check_repeats(result);
  phases.compare_s = slowest.download_s + watch.lap();
  result.checks = check_properties({c, variant, standard, runner}, outputs);
  for (const CheckResult& check : result.checks) {
    result.failures.insert(result.failures.end(), check.failures.begin(), check.failures.end());
  }
  phases.checks_s = watch.lap();
  if (options.keep) *options.keep = std::move(outputs);
  conclude(result);
  phases.compare_s += watch.lap();
  return result;
}

void judge_outputs(Measured measured, const Standard& standard, const PerOut<bool>& given,
                   CaseResult& result) {
  for (const Out out : kOuts) {
    TensorVerdict& verdict = result.tensors[out];
    if (given[out]) {
      verdict = judge(result.c, measured.stats[out], std::move(measured.ranks[out]), standard.stats[out],
                      standard.random);
    }
    verdict.given = given[out];
  }
}

void conclude(CaseResult& result) {
  result.status = all_failures(result).empty() ? Status::pass : Status::fail;
  if (const std::string why = why_mistrusted(result); !why.empty()) {
    result.failures.push_back(why);
    if (result.status == Status::pass) result.status = Status::mistrusted;
  }
  if (!result.c.fault.empty()) meet_expectation(result);
  for (const std::string& failure : all_failures(result)) {
    result.reason += (result.reason.empty() ? "" : "; ") + failure;
  }
}

Totals totals(const CaseResult& result) {
  Totals sum;
  const auto largest = [](PassMemory& most, const PassMemory& of_rank) {
    most = {std::max(most.forward, of_rank.forward), std::max(most.backward, of_rank.backward)};
  };
  for (const PassMemory& expected : result.expected_memory) largest(sum.expected_memory, expected);
  for (const RankMeasure& rank : result.ranks) {
    sum.forward += rank.forward;
    sum.backward += rank.backward;
    sum.forward_operations += rank.forward_operations;
    sum.backward_operations += rank.backward_operations;
    largest(sum.memory, rank.memory);
    sum.peak_bytes = std::max(sum.peak_bytes, rank.peak_bytes);
    for (const auto figure : {&Shares::compute_s, &Shares::wait_s, &Shares::other_s, &Shares::hidden_s}) {
      sum.shares.*figure = std::max(sum.shares.*figure, rank.shares.*figure);
    }
  }
  return sum;
}

std::vector<std::string> all_failures(const CaseResult& result) {
  std::vector<std::string> all;
  for (const Out out : kOuts) {
    for (const std::string& failure : result.tensors[out].failures) {
      all.push_back(fmt::format("{}: {}", to_string(out), failure));
    }
  }
  all.insert(all.end(), result.failures.begin(), result.failures.end());
  return all;
}

}  // namespace ringside
