#include "harness/mutants/run_mutants.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <set>

#include "harness/base/fingerprint.h"
#include "harness/base/stopwatch.h"
#include "harness/cases/select_cases.h"
#include "harness/run/device_entry.h"
#include "harness/sweep/plan.h"
#include "reference/error.h"

namespace ringside {
namespace {

using Seconds = std::chrono::seconds;

constexpr double kLegacyLimit = 1e-3;
constexpr double kInfinite = std::numeric_limits<double>::infinity();

/// Whether the mean over rank 0 would have been noticed, a NaN too.
bool legacy_notices(const CaseResult& wrong, const CaseResult& right) {
  return std::ranges::any_of(kOuts, [&](Out out) {
    return !(wrong.tensors[out].legacy - right.tensors[out].legacy <= kLegacyLimit);
  });
}

/// What the verdict says of a mutant's run.
Catch read_verdict(const CaseResult& result, const CaseResult& right) {
  Catch caught = {.c = result.c, .legacy = legacy_notices(result, right)};
  std::set<int> ranks;
  for (const Finding& finding : all_findings(result)) {
    if (!is_of_values(finding.rule) && finding.rule != Rule::repeat) continue;
    caught.red = true;
    if (finding.share > caught.share) {
      caught.check = to_string(finding.rule);
      caught.share = finding.share;
    }
    if (finding.tensor && !caught.tensors.ends_with(to_string(*finding.tensor))) {
      caught.tensors += fmt::format("{}{}", caught.tensors.empty() ? "" : " ", to_string(*finding.tensor));
    }
    if (finding.rule == Rule::element || finding.rule == Rule::pattern) {
      for (const auto& [rank, elements] : finding.by_rank) ranks.insert(rank);
    }
  }
  caught.ranks.assign(ranks.begin(), ranks.end());
  return caught;
}

/// Cases grouped by problem, their right variants and the mutants of these.
class CaseRunner {
 public:
  CaseRunner(const DeviceEntry& device, MutantsResult& result) : runner_{device, fleet_}, result_(result) {}

  void run(const PlannedCase& planned) {
    const Standard& standard = standards_.of(planned.c, runner_);
    const CaseResult right =
        run_case(runner_, {planned.c, *planned.variant}, standard, {.timing = {.repeat = 1}});
    ++result_.clean_runs;
    if (right.status != Status::pass) {
      result_.false_alarms.push_back(fmt::format("{}: {}", planned.c.name(), right.reason));
    }
    for (MutantResult& of : result_.mutants) {
      const Mutant& mutant = of.mutant;
      if (mutant.twin.name != planned.variant->name || mutant.twin.op != planned.variant->op) continue;
      if (!mutant.ends_with.empty() && of.caught()) continue;
      of.runs.push_back(run(mutant, planned.c, standard, right));
    }
  }

 private:
  Catch run(const Mutant& mutant, const Case& c, const Standard& standard, const CaseResult& right) {
    Fleet fleet = Fleet::of_threads(std::nullopt, Seconds(mutant.deadline_s), true);
    fleet.decorate(mutant.world);
    const Runner runner = {runner_.device, fleet, runner_.inputs};
    try {
      const TimingPlan timing = {.repeat = mutant.needs_repeat ? 1 : 0};
      Catch caught = read_verdict(run_case(runner, {c, mutant.twin}, standard, {.timing = timing}), right);
      if (!mutant.ends_with.empty()) caught.red = false;
      return caught;
    } catch (const std::exception& error) {
      const std::string_view text = error.what();
      if (mutant.ends_with.empty() || text.find(mutant.ends_with) == text.npos) throw;
      return {.c = c, .red = true, .check = "error", .share = kInfinite, .error = error.what()};
    }
  }

  Fleet fleet_ = Fleet::of_threads(std::nullopt, Seconds(60), true);
  Runner runner_;
  Standards standards_;
  MutantsResult& result_;
};

std::string text_of(double share) { return std::isfinite(share) ? fmt::format("{:.3g}x", share) : "inf"; }

std::string text_of(const std::vector<int>& ranks) {
  std::string text;
  for (const int rank : ranks) text += fmt::format("{}{}", text.empty() ? "" : " ", rank);
  return text;
}

std::string of(std::int64_t some, std::int64_t all) { return fmt::format("{}/{}", some, all); }

using Results = std::vector<MutantResult>::const_iterator;

/// What some mutants come to.
struct Tally {
  std::int64_t mutants = 0, caught = 0, legacy = 0;  ///< legacy: shown by the mean over rank 0 in some case
  std::int64_t runs = 0, red = 0, legacy_runs = 0;   ///< legacy_runs: of the red ones

  Tally(Results first, Results last) : mutants(last - first) {
    for (; first != last; ++first) {
      caught += first->caught();
      legacy += first->legacy() || !first->mutant.ends_with.empty();  // no mean is ever reached
      runs += std::ssize(first->runs);
      red += first->red();
      legacy_runs += std::ranges::count_if(first->runs, [](const Catch& c) { return c.red && c.legacy; });
    }
  }
};

/// The clearest red run of that variant where it is least clear, or who survived.
std::string hardest(Results first, Results last, const Tally& bug) {
  const Catch* least = nullptr;
  for (auto at = first; at != last; ++at) {
    const Catch* best = at->clearest();
    if (!best) return fmt::format("SURVIVED in {}", at->mutant.twin.name);
    if (!least || best->share < least->share) least = best;
  }
  if (!least->error.empty()) return least->error.substr(0, least->error.find_first_of(";\n"));
  return fmt::format("{:<19} {:<14} {:>9}  {:<11} {:<12} {}", least->c.variant, least->check,
                     text_of(least->share), least->tensors, text_of(least->ranks),
                     of(bug.legacy_runs, bug.red));
}

std::string cell(const std::string& text) {
  std::string out = "\"";
  for (const char ch : text) out += ch == '"' ? "\"\"" : std::string(1, ch == '\n' ? ' ' : ch);
  return out + "\"";
}

}  // namespace

bool MutantResult::caught() const { return red() > 0; }
bool MutantResult::legacy() const { return std::ranges::any_of(runs, &Catch::legacy); }
int MutantResult::red() const { return static_cast<int>(std::ranges::count(runs, true, &Catch::red)); }

const Catch* MutantResult::clearest() const {
  const auto clearer = [](const Catch& a, const Catch& b) {
    const auto size = [](const Catch& run) { return std::isfinite(run.share) ? run.share : 0; };
    return std::pair(a.red, size(a)) < std::pair(b.red, size(b));
  };
  const auto best = std::ranges::max_element(runs, clearer);
  return best == runs.end() || !best->red ? nullptr : &*best;
}

MutantsResult run_mutants(const std::vector<Mutant>& mutants, std::vector<Case> cases,
                          const std::function<void(const std::string&)>& progress,
                          const std::string& device) {
  Stopwatch watch;
  MutantsResult result;
  for (const Mutant& mutant : mutants) result.mutants.push_back({mutant});
  const DeviceEntry entry = usable_device(device);
  const Plan plan = make_plan(
      std::move(cases), std::nullopt, [](const Case&) { return 1; }, usable_cores(), entry);
  CaseRunner runner(entry, result);
  for (const PlannedCase& planned : plan.cases) {
    if (planned.skip) continue;
    progress(planned.c.name());
    runner.run(planned);
  }
  std::erase_if(result.mutants, [](const MutantResult& of) { return of.runs.empty(); });
  result.seconds = watch.lap();
  return result;
}

std::string mutants_table(const MutantsResult& result) {
  std::string text =
      fmt::format("{:>3}  {:<23} {:>8} {:>8}  {:<19} {:<14} {:>9}  {:<11} {:<12} {}\n", "#", "bug",
                  "variants", "red runs", "hardest in", "check", "share", "tensors", "ranks", "rank-0 mean");
  int bugs = 0, caught_bugs = 0;
  const Tally all(result.mutants.begin(), result.mutants.end());
  for (auto first = result.mutants.begin(); first != result.mutants.end(); ++bugs) {
    const auto last = std::find_if(first, result.mutants.end(),
                                   [&](const MutantResult& m) { return m.mutant.bug != first->mutant.bug; });
    const Tally bug(first, last);
    caught_bugs += bug.caught == bug.mutants ? 1 : 0;
    text += fmt::format("{:>3}  {:<23} {:>8} {:>8}  {}\n",
                        first->mutant.number ? std::to_string(first->mutant.number) : "-", first->mutant.bug,
                        of(bug.caught, bug.mutants), of(bug.red, bug.runs), hardest(first, last, bug));
    first = last;
  }
  for (const std::string& alarm : result.false_alarms) text += fmt::format("false alarm: {}\n", alarm);
  text += fmt::format(
      "planted bugs caught {} of {}, in {} of {} variants; false alarms {} of {} clean runs; {:.0f} s\n",
      caught_bugs, bugs, all.caught, all.mutants, result.false_alarms.size(), result.clean_runs,
      result.seconds);
  text += fmt::format(
      "the mean over rank 0 would have shown {} of the {} red runs, and missed {} of the {} variants in "
      "every case\n",
      all.legacy_runs, all.red, all.mutants - all.legacy, all.mutants);
  return text;
}

std::string mutants_csv(const MutantsResult& result) {
  std::string text = "number,bug,variant,case,red,check,share,tensors,ranks,legacy,error\n";
  for (const MutantResult& of : result.mutants) {
    for (const Catch& run : of.runs) {
      text += fmt::format("{},{},{},{},{},{},{},{},{},{},{}\n", of.mutant.number, of.mutant.bug,
                          of.mutant.twin.name, run.c.name(), run.red ? 1 : 0, run.check, run.share,
                          run.tensors, text_of(run.ranks), run.legacy ? 1 : 0, cell(run.error));
    }
  }
  return text;
}

}  // namespace ringside
