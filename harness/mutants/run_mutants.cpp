#include "harness/mutants/run_mutants.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>

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
  const auto see = [&](std::string_view check, double share) {
    if (share <= caught.share) return;
    caught.check = check;
    caught.share = share;
  };
  std::vector<bool> ranks(result.ranks.size());
  for (const Out out : kOuts) {
    const TensorVerdict& v = result.tensors[out];
    if (v.failures.empty()) continue;
    caught.tensors += fmt::format("{}{}", caught.tensors.empty() ? "" : " ", to_string(out));
    if (v.stats.pattern_errors > 0) see("NaN pattern", kInfinite);
    if (v.row_share > 1) see("row", v.row_share);
    if (v.error_share > 1) see("error", v.error_share);
    if (v.coarse > 0) see("grid", kInfinite);
    if (v.bias > v.bias_limit) see("bias", v.bias / v.bias_limit);
    if (v.stats.failed > 0) see("element", v.stats.max_share);
    for (std::size_t r = 0; r < v.ranks.size(); ++r) ranks[r] = ranks[r] || v.ranks[r].failed > 0;
  }
  const auto repeats = [](const RankMeasure& rank) { return rank.repeats_equal != 0; };
  if (!std::ranges::all_of(result.ranks, repeats)) see("repeat", kInfinite);
  caught.red = !caught.check.empty();
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    if (ranks[r]) caught.ranks.push_back(static_cast<int>(r));
  }
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
      Catch caught =
          read_verdict(run_case(runner, {c, mutant.twin}, standard, {.timing = timing}), right);
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

std::string of(int some, int all) { return fmt::format("{}/{}", some, all); }

/// What some mutants come to.
struct Tally {
  int mutants = 0, caught = 0, legacy = 0;  ///< legacy: shown by the mean over rank 0 in some case
  int runs = 0, red = 0, legacy_runs = 0;   ///< legacy_runs: of the red ones

  friend Tally operator+(Tally sum, const MutantResult& m) {
    const auto shown = std::ranges::count_if(m.runs, [](const Catch& c) { return c.red && c.legacy; });
    const bool legacy = m.legacy() || !m.mutant.ends_with.empty();  // no mean is ever reached
    return sum + Tally{1,       m.caught() ? 1 : 0,     legacy ? 1 : 0, static_cast<int>(m.runs.size()),
                       m.red(), static_cast<int>(shown)};
  }
  friend Tally operator+(const Tally& a, const Tally& b) {
    return {a.mutants + b.mutants, a.caught + b.caught, a.legacy + b.legacy,
            a.runs + b.runs,       a.red + b.red,       a.legacy_runs + b.legacy_runs};
  }
};

using Results = std::vector<MutantResult>::const_iterator;

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
  Tally all;
  for (auto first = result.mutants.begin(); first != result.mutants.end(); ++bugs) {
    const auto last = std::find_if(first, result.mutants.end(),
                                   [&](const MutantResult& m) { return m.mutant.bug != first->mutant.bug; });
    const Tally bug = std::accumulate(first, last, Tally());
    caught_bugs += bug.caught == bug.mutants ? 1 : 0;
    text += fmt::format("{:>3}  {:<23} {:>8} {:>8}  {}\n",
                        first->mutant.number ? std::to_string(first->mutant.number) : "-", first->mutant.bug,
                        of(bug.caught, bug.mutants), of(bug.red, bug.runs), hardest(first, last, bug));
    all = all + bug;
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
