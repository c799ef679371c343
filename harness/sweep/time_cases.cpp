// Times without verdicts: what the gate runs, arm by arm.
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "harness/base/fingerprint.h"
#include "harness/base/json.h"
#include "harness/base/line_file.h"
#include "harness/base/stopwatch.h"
#include "harness/base/text.h"
#include "harness/cases/select_cases.h"
#include "harness/report/progress.h"
#include "harness/report/table.h"
#include "harness/run/measures.h"
#include "harness/sweep/commands.h"
#include "harness/sweep/plan.h"
#include "harness/sweep/session.h"

namespace ringside {
namespace {

Json row_of(const PlannedCase& planned, const RunInfo& run) {
  const Setting at = run.setting();
  return {{"schema", 1},
          {"name", planned.c.name()},
          {"commit", run.commit},
          {"fingerprint", at.fingerprint},
          {"communicator", at.communicator},
          {"world", at.world},
          {"device", at.device}};
}

}  // namespace

int time_cases(const TimeOptions& options) {
  return in_session(options, [&](const Runner& runner) {
    Fleet& fleet = runner.fleet;
    const RunInfo run = run_info(runner);
    const TimingPlan timing = {.repeat = options.repeat, .limit_s = options.time_limit_s};
    const Plan plan = make_plan(
        select_cases(options.cases, options.filter), fleet.world(),
        [&](const Case&) { return options.repeat; }, usable_cores(), runner.device);
    if (plan.to_run == 0) throw UsageError("no case ran: " + *plan.cases.front().skip);
    std::optional<LineFile> out;
    on_root(fleet, [&] {
      out.emplace(options.out);
      out->cut(0);
    });
    Progress progress(fleet.is_root(), plan.to_run);
    for (const PlannedCase& planned : plan.cases) {
      Json row = row_of(planned, run);
      if (planned.skip) {
        row["skipped"] = *planned.skip;
      } else {
        progress.begin(planned.c.name());
        runner.inputs->clear();
        std::vector<RankMeasure> ranks;
        const auto runs = run_ranks_here(runner, {planned.c, *planned.variant}, timing);
        const IterationTimes times = share_measures(runs, fleet, ranks);
        row["oversubscribed"] = fleet.oversubscribed(planned.c.ranks(), runner.device);
        row["forward_s"] = times.forward;
        row["forward_backward_s"] = times.forward_backward;
        progress.done(fmt::format("{}: {}, median of {}", planned.c.name(),
                                  human_seconds(Timing::of(times.forward_backward).median_s),
                                  times.forward_backward.size()));
      }
      on_root(fleet, [&] { out->append(row.dump()); });
    }
    if (fleet.is_root()) {
      fmt::print("{} cases: times only, nothing judged: {}\n", plan.to_run, options.out);
    }
    return 0;
  });
}

}  // namespace ringside
