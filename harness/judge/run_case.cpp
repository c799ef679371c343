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

/// Enters a finding of `rule` for the ranks whose figure is not its formula's. `figure`, `formula`: of a rank.
template <typename Figure, typename Formula>
void check_account(Rule rule, std::string subject, const Figure& figure, const Formula& formula,
                   CaseResult& result) {
  Finding finding = {.rule = rule, .subject = std::move(subject)};
  for (std::size_t rank = 0; rank < result.ranks.size(); ++rank) {
    const std::int64_t measured = figure(rank), expected = formula(rank);
    if (measured == expected) continue;
    if (finding.by_rank.empty()) {
      finding.measured = static_cast<double>(measured);
      finding.limit = static_cast<double>(expected);
    }
    finding.by_rank[static_cast<int>(rank)] = measured;
  }
  if (!finding.by_rank.empty()) result.findings.push_back(std::move(finding));
}

void check_traffic(const Case& c, const Variant& variant, CaseResult& result) {
  for (int rank = 0; rank < c.ranks(); ++rank) {
    result.expected_traffic.push_back(variant.traffic(c.local_problem(), c.dtype, c.sp, rank % c.sp));
  }
  const auto check = [&](const char* pass, Traffic RankMeasure::*sent, Traffic PassTraffic::*formula) {
    for (const auto& [name, figure] : {std::pair{"bytes", &Traffic::bytes},
                                       {"messages", &Traffic::messages},
                                       {"collectives", &Traffic::collectives}}) {
      check_account(
          Rule::traffic, fmt::format("{} in {}", name, pass),
          [&, of = figure](std::size_t rank) { return result.ranks[rank].*sent.*of; },
          [&, of = figure](std::size_t rank) { return result.expected_traffic[rank].*formula.*of; }, result);
    }
  };
  check("forward", &RankMeasure::forward, &PassTraffic::forward);
  check("backward", &RankMeasure::backward, &PassTraffic::backward);
}

void check_memory(const Case& c, const Variant& variant, CaseResult& result) {
  for (int rank = 0; rank < c.ranks(); ++rank) {
    result.expected_memory.push_back(variant.memory(c.local_problem(), c.dtype, c.sp, rank % c.sp));
  }
  if (c.partials != DType::fp32) return;  // rounding them takes some of its own
  for (const auto& [pass, of] :
       {std::pair{"forward", &PassMemory::forward}, {"backward", &PassMemory::backward}}) {
    check_account(
        Rule::memory, fmt::format("bytes in {}", pass),
        [&, at = of](std::size_t rank) { return result.ranks[rank].memory.*at; },
        [&, at = of](std::size_t rank) { return result.expected_memory[rank].*at; }, result);
  }
}

void check_repeats(CaseResult& result) {
  Finding finding = {.rule = Rule::repeat};
  for (std::size_t rank = 0; rank < result.ranks.size(); ++rank) {
    if (!result.ranks[rank].repeats_equal) finding.by_rank[static_cast<int>(rank)] = 1;
  }
  if (!finding.by_rank.empty()) result.findings.push_back(std::move(finding));
}

/// A verdict that could not have been red is none: every tensor zero by definition, or Gaussian data whose
/// reference is exactly zero in many places of rows that are not zero by definition.
std::optional<Finding> why_mistrusted(const CaseResult& result) {
  const auto mistrust = [](std::string why, std::optional<Out> tensor = {}) {
    return Finding{.rule = Rule::mistrust, .tensor = tensor, .subject = std::move(why)};
  };
  const auto says_nothing = [](const TensorVerdict& v) { return !v.given || tells_nothing(v.stats); };
  const auto& tensors = result.tensors.of;
  if (std::ranges::all_of(tensors, says_nothing))
    return mistrust("zeros everywhere would have passed as well, so nothing was checked");
  // Of given inputs nobody knows that they tell something: a do of zeros makes every gradient zero.
  const auto gradients = std::span(tensors).last(3);
  if (result.c.fill == Fill::given && std::ranges::any_of(gradients, &TensorVerdict::given) &&
      std::ranges::all_of(gradients, says_nothing))
    return mistrust("zeros would have passed for every gradient as well; is do zero?");
  for (const Out out : kOuts) {
    if (result.tensors[out].given && result.tensors[out].far_from_honest)
      return mistrust("zeros would have passed, and the control run is much nearer", out);
  }
  if (result.c.fill != Fill::gaussian) return std::nullopt;
  for (const Out out : kOuts) {
    const TensorStats& s = result.tensors[out].stats;
    if (10 * s[Count::zeros] > 3 * s[Count::elements])
      return mistrust(
          fmt::format("{} of {} elements are zero in the reference", s[Count::zeros], s[Count::elements]),
          out);
  }
  return std::nullopt;
}

/// A known fault turns the verdict on the tensors round; it excuses no other failure (traffic, memory,
/// repeats).
void meet_expectation(CaseResult& result) {
  if (result.status == Status::fail && result.findings.empty()) {
    result.status = Status::xfail;
    result.reason = "known fault: " + result.c.fault;
  } else if (result.status == Status::pass) {
    result.status = Status::xpass;
    result.findings.push_back({.rule = Rule::expectation, .subject = result.c.fault});
  }
}

}  // namespace

CaseResult run_case(const Runner& runner, const Subject& subject, const Standard& standard,
                    const RunOptions& options) {
  const Case& c = subject.c;
  const Variant& variant = subject.variant;
  Fleet& fleet = runner.fleet;
  CaseResult result = {.c = c, .oversubscribed = fleet.oversubscribed(c.ranks(), runner.device)};
  Stopwatch watch;
  const std::vector<RankRun> runs = run_ranks_here(runner, subject, options.timing);
  IterationTimes times = share_measures(runs, fleet, result.ranks);
  for (const double seconds : times.forward_backward) result.phases[Phase::variant] += seconds;
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
  phases[Phase::inputs] = slowest.inputs_s;
  phases[Phase::variant] += slowest.verified_s;
  phases[Phase::setup] =
      std::max(0.0, ranks_s - phases[Phase::inputs] - phases[Phase::variant] - slowest.download_s);

  HostOutputs outputs = collect(runner, subject, runs);
  judge_outputs(measure_all(c, maker(subject, runner.device.block), standard, outputs, true, fleet), standard,
                {{true, true, true, true}}, result);
  check_traffic(c, variant, result);
  check_memory(c, variant, result);
  check_repeats(result);
  phases[Phase::compare] = slowest.download_s + watch.lap();
  result.checks = check_properties({c, variant, standard, runner}, outputs);
  for (const CheckResult& check : result.checks) {
    result.findings.insert(result.findings.end(), check.findings.begin(), check.findings.end());
  }
  phases[Phase::checks] = watch.lap();
  if (options.keep) *options.keep = std::move(outputs);
  conclude(result);
  phases[Phase::compare] += watch.lap();
  return result;
}

void judge_outputs(Measured measured, const Standard& standard, const PerOut<bool>& given,
                   CaseResult& result) {
  for (const Out out : kOuts) {
    TensorVerdict& verdict = result.tensors[out];
    if (given[out]) {
      verdict = judge(result.c, measured.stats[out], std::move(measured.ranks[out]), standard.stats[out],
                      standard.random);
      for (Finding& finding : verdict.findings) finding.tensor = out;
    }
    verdict.given = given[out];
  }
}

void conclude(CaseResult& result) {
  result.status = all_findings(result).empty() ? Status::pass : Status::fail;
  if (auto finding = why_mistrusted(result)) {
    result.findings.push_back(std::move(*finding));
    if (result.status == Status::pass) result.status = Status::mistrusted;
  }
  if (!result.c.fault.empty()) meet_expectation(result);
  for (const Finding& finding : all_findings(result)) {
    result.reason += (result.reason.empty() ? "" : "; ") + sentence(finding);
  }
}

std::vector<Finding> all_findings(const CaseResult& result) {
  std::vector<Finding> all;
  for (const TensorVerdict& verdict : result.tensors.of) {
    all.insert(all.end(), verdict.findings.begin(), verdict.findings.end());
  }
  all.insert(all.end(), result.findings.begin(), result.findings.end());
  return all;
}

}  // namespace ringside
