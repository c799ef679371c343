#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "distributed/comm/mpi_communicator.h"
#include "harness/base/files.h"
#include "harness/base/fingerprint.h"
#include "harness/base/stopwatch.h"
#include "harness/base/text.h"
#include "harness/cases/case_file.h"
#include "harness/cases/select_cases.h"
#include "harness/report/dump.h"
#include "harness/report/progress.h"
#include "harness/report/table.h"
#include "harness/report/trace.h"
#include "harness/results/published.h"
#include "harness/results/results.h"
#include "harness/run/peak.h"
#include "harness/sweep/commands.h"
#include "harness/sweep/plan.h"
#include "harness/sweep/resume.h"
#include "harness/sweep/session.h"
#include "reference/error.h"

namespace ringside {
namespace {

/// What is written case by case, in the root process; elsewhere empty.
struct Files {
  std::optional<ResultsFile> results{};
  std::optional<TraceFile> trace{};
};

/// A file or directory that cannot be written ends the run in all processes, before anything runs.
Files open_files(const SweepOptions& options, const Kept& kept, Fleet& fleet) {
  Files files;
  on_root(fleet, [&] {
    if (options.dump) make_directory(*options.dump);
    if (options.trace) files.trace.emplace(*options.trace);
    if (options.out && options.resume) files.results.emplace(*options.out, kept.bytes, kept.csv_rows);
    if (options.out && !options.resume) files.results.emplace(*options.out);
    if (files.trace) files.trace->begin();
  });
  return files;
}

void refuse_what_does_not_fit(const Plan& plan, const SweepOptions& options, const Repeats& repeats,
                              int cores) {
  const auto memory = static_cast<double>(machine_memory_bytes());
  for (const PlannedCase& planned : plan.cases) {
    if (planned.skip) continue;
    const double bytes = estimate(planned.c, repeats, cores).bytes;
    if (bytes <= 0.9 * memory) continue;
    throw UsageError(fmt::format("{}: case {} needs about {}; this machine has {}", options.cases,
                                 planned.c.name(), human_bytes(bytes), human_bytes(memory)));
  }
}

void print_plan(const Plan& plan, const SweepOptions& options, const Fleet& fleet) {
  const bool known = options.device == "cpu";  // whose rates the estimate has
  fmt::print(notes(), "{}: {} cases, {} to run against {} references\n  on {}, {}; at most {} of memory{}\n",
             options.cases, plan.cases.size(), plan.to_run, plan.standards, fleet.communicator(),
             fleet.world() ? fmt::format("{} ranks", *fleet.world()) : "one a rank",
             human_bytes(plan.needs.bytes),
             known ? fmt::format(", about {}", human_seconds(plan.needs.seconds)) : "");
}

bool has_published(const Plan& plan) {
  return std::ranges::any_of(plan.cases, [](const PlannedCase& p) { return !p.skip && published(p.c); });
}

int exit_status(const std::vector<CaseResult>& results, const Kept& kept) {
  return !kept.red.empty() ||
                 std::ranges::any_of(results, [](const CaseResult& r) { return is_red(r.status); })
             ? 1
             : 0;
}

/// Runs the plan, case by case; each row and timeline is written, and then shown, before the next case
/// starts.
std::vector<CaseResult> run_plan(const Plan& plan, const SweepOptions& options, const RunInfo& run,
                                 const Kept& kept, Files files, const Runner& runner) {
  Fleet& fleet = runner.fleet;
  const Paint paint = Paint::of(options.color);
  Standards standards;
  Peaks peaks;
  Progress progress(fleet.is_root(), plan.to_run);
  std::string head = accuracy_header(has_published(plan), paint);
  std::vector<CaseResult> results;
  for (const PlannedCase& planned : plan.cases) {
    if (options.fail_fast && exit_status(results, kept) != 0) break;
    Stopwatch watch;
    Phases before;  // of a new standard
    CaseResult result = {.c = planned.c};
    if (planned.skip) {
      result.reason = *planned.skip;
    } else {
      const bool is_new = !standards.has(planned.c);
      if (is_new) progress.begin("reference");
      const Standard& standard = standards.of(planned.c, runner);
      if (is_new) {
        before[Phase::reference] = watch.lap() - standard.inputs_s - standard.measure_s;
        before[Phase::inputs] = standard.inputs_s;
        before[Phase::compare] = standard.measure_s;
      }
      progress.begin(heading(result));
      HostOutputs outputs;
      const bool crowded = fleet.oversubscribed(planned.c.ranks(), runner.device);
      const TimingPlan timing = {.repeat = timed_iterations(options, crowded),
                                 .limit_s = options.time_limit_s,
                                 .trace = options.trace.has_value()};
      result = run_case(runner, {planned.c, *planned.variant}, standard,
                        {.timing = timing, .keep = options.dump ? &outputs : nullptr});
      watch.lap();
      if (timing.repeat > 0) {
        result.matmul_tflops = peaks.of(planned.c.dtype, planned.c.math, runner.device, fleet);
        result.phases[Phase::setup] += watch.lap();
      }
      if (options.dump) dump_case(*options.dump, planned.c, outputs, fleet);
      result.phases[Phase::output] = watch.lap();
      result.phases += before;
    }
    watch.lap();
    on_root(fleet, [&] {
      if (files.results) files.results->add(result, run);
      if (files.trace) files.trace->add(result, results.size() + 1);
      if (!planned.skip)
        progress.row(std::exchange(head, "") + accuracy_rows(result, results.size() + 1, paint));
    });
    result.timelines.clear();
    result.phases[Phase::output] += watch.lap();
    results.push_back(std::move(result));
  }
  on_root(fleet, [&] {
    if (files.trace) files.trace->end();
  });
  return results;
}

}  // namespace

int sweep(const SweepOptions& options) {
  Stopwatch wall, watch;
  return in_session(options, [&](const Runner& runner) {
    Fleet& fleet = runner.fleet;
    const RunInfo run = run_info(runner);
    const int cores = usable_cores();
    const Repeats repeats = [&](const Case& c) {
      return timed_iterations(options, fleet.oversubscribed(c.ranks(), runner.device));
    };
    const auto plan_of = [&](std::vector<Case> cases) {
      return make_plan(std::move(cases), fleet.world(), repeats, cores, runner.device);
    };
    Plan plan = plan_of(select_cases(options.cases, options.filter));
    Kept kept;
    if (options.resume) {
      kept = keep_rows(*options.out, run, plan, fleet);
      plan = plan_of(kept.left);
    }
    refuse_what_does_not_fit(plan, options, repeats, cores);
    Files files = open_files(options, kept, fleet);
    if (fleet.is_root()) print_plan(plan, options, fleet);
    const Paint paint = Paint::of(options.color);
    Phases phases;
    phases[Phase::setup] = watch.lap();
    const std::vector<CaseResult> results = run_plan(plan, options, run, kept, std::move(files), runner);
    for (const CaseResult& result : results) phases += result.phases;
    if (fleet.is_root()) {
      watch.lap();
      if (plan.to_run > 0) fmt::print("\n{}\n", performance_table(results, paint));
      for (const CaseResult& result : results) fmt::print("{}", failure_report(result, options.cases, paint));
      phases[Phase::output] += watch.lap();
      fmt::print("{}{}{}", time_summary(phases, wall.lap()), kept_summary(kept),
                 summary(results, kept.counts, paint));
      if (results.size() < plan.cases.size()) {
        fmt::print("stopped at the first wrong result: {} cases not run\n",
                   plan.cases.size() - results.size());
      }
      if (options.dump) fmt::print("tensors: {}/\n", *options.dump);
      if (options.trace) fmt::print("timelines: {}\n", *options.trace);
      if (options.out) fmt::print("results: {0}/results.jsonl, {0}/results.csv\n", *options.out);
    }
    if (plan.to_run == 0 && !kept.ran()) throw UsageError("no case ran");
    return exit_status(results, kept);
  });
}

}  // namespace ringside
