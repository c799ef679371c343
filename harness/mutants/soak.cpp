#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <map>
#include <optional>
#include <utility>

#include "distributed/comm/mpi_communicator.h"
#include "distributed/comm/watchdog.h"
#include "harness/base/stopwatch.h"
#include "harness/base/text.h"
#include "harness/cases/case_file.h"
#include "harness/cases/select_cases.h"
#include "harness/judge/run_case.h"
#include "harness/mutants/commands.h"
#include "harness/mutants/common_merge.h"
#include "harness/mutants/mutant.h"
#include "harness/report/table.h"
#include "harness/run/device_entry.h"
#include "harness/sweep/random_cases.h"
#include "reference/error.h"

namespace ringside {
namespace {

using Seconds = std::chrono::seconds;

/// How much of each limit right variants use.
class LimitShares {
 public:
  void add(const CaseResult& result) {
    for (const Out out : kOuts) {
      const TensorVerdict& v = result.tensors[out];
      of_["element"].add(v.stats.max_share);
      of_["row"].add(v.row_share);
      of_["error"].add(v.error_share);
      of_["bias"].add(v.bias_limit > 0 ? v.bias / v.bias_limit : 0);
    }
  }

  std::string table() const {
    std::string text = fmt::format("{:<18}", "tensors by share");
    for (const auto& [name, counts] : of_) text += fmt::format(" {:>10}", name);
    for (std::size_t i = 0; i < kBins; ++i) {
      text += fmt::format("\n{:<18}", label(i));
      for (const auto& [name, counts] : of_) text += fmt::format(" {:>10}", counts.bins[i]);
    }
    text += fmt::format("\n{:<18}", "largest");
    for (const auto& [name, counts] : of_) text += fmt::format(" {:>10.4f}", counts.largest);
    return text + "\n";
  }

 private:
  static constexpr std::size_t kBins = 12;  // exactly 0, ten tenths, beyond

  static std::string label(std::size_t bin) {
    if (bin == 0) return "0";
    if (bin == kBins - 1) return "> 1";
    return fmt::format("{} {:.1f}", bin == 1 ? "<" : "to", 0.1 * static_cast<double>(bin));
  }

  struct Counts {
    std::array<std::int64_t, kBins> bins{};
    double largest = 0;

    void add(double share) {
      largest = std::max(largest, share);
      const double tenth = std::ceil(std::clamp(10 * share, 0.0, 11.0));
      ++bins[static_cast<std::size_t>(tenth)];
    }
  };
  std::map<std::string, Counts> of_;
};

/// The cases that fail, in a file for sweep to repeat, each as it is found.
class RedCases {
 public:
  explicit RedCases(std::string path) : path_(std::move(path)) {}

  void add(const Case& c, const std::string& report) {
    fmt::print("{}", report);
    std::fflush(stdout);
    const std::string table = case_table({c});
    std::ofstream file(path_, count_++ == 0 ? std::ios::trunc : std::ios::app);
    file << (count_ == 1 ? table : table.substr(table.find('\n') + 1));
    if (!file.flush()) throw InfrastructureError(fmt::format("{}: {}", path_, std::strerror(errno)));
  }
  const std::string& path() const { return path_; }
  int count() const { return count_; }

 private:
  std::string path_;
  int count_ = 0;
};

/// Whether a variant's `turn`-th run has the merge that most rings have in place of its own, if it merges.
bool has_common_merge(const Variant& variant, int turn) {
  return turn % 2 == 1 && std::ranges::count(merging_variants(), &variant) > 0;
}

bool tells_nothing(const CaseResult& result) {
  return std::ranges::all_of(result.tensors.of,
                             [](const TensorVerdict& v) { return tells_nothing(v.stats); });
}

}  // namespace

int soak(const SoakOptions& options) {
  if (MpiSession::launched_by_mpi())
    throw UsageError(
        "soak: started by mpirun, so every process would repeat the same work; leave mpirun out");
  const DeviceEntry device = usable_device(options.device);
  const Watchdog watchdog;
  const auto seed = options.seed ? static_cast<std::uint64_t>(*options.seed) : std::random_device()();
  fmt::print(stderr, "seed {}: ringside soak --seed {} --{} repeats these cases\n", seed, seed,
             options.cases ? fmt::format("cases {}", *options.cases)
                           : fmt::format("minutes {}", options.minutes.value_or(1)));
  RandomCases random(seed);
  RedCases red(options.red);
  LimitShares shares;
  Standards standards;
  std::map<std::string, int> runs;
  Stopwatch watch;
  double seconds = 0, told = 0;
  int done = 0, told_nothing = 0;
  const auto goes_on = [&] {
    return options.cases ? done < *options.cases : seconds < 60 * options.minutes.value_or(1);
  };
  for (int problems = 0; goes_on(); ++problems) {
    // one problem in four with receive buffers poisoned and messages late
    Fleet fleet = Fleet::of_threads(std::nullopt, Seconds(60), problems % 4 == 0);
    const Runner runner = {device, fleet};
    const Case problem = random.problem();
    for (const Case& c : random.runs_of(problem, 4)) {
      if (!goes_on()) break;
      if (device.unsupported(c.local_problem(), c.dtype, c.math)) continue;
      ++done;
      const Variant& variant = *find_variant(c.variant, c.op);
      const bool common = has_common_merge(variant, runs[c.variant]++);
      const Standard& standard = standards.of(c, runner);
      try {
        const CaseResult result = run_case(runner, {c, common ? on_device<CommonMerge>(variant) : variant},
                                           standard, {.timing = {.repeat = 1}});
        shares.add(result);
        if (tells_nothing(result)) {
          ++told_nothing;
        } else if (result.status != Status::pass) {
          red.add(c, (common ? "with the common merge, which sweep does not have:\n" : "") +
                         failure_report(result, red.path()));
        }
      } catch (const InfrastructureError& error) {
        red.add(c, fmt::format("{}: {}\n", c.name(), error.what()));
      }
    }
    seconds += watch.lap();
    if (seconds - told < 10) continue;
    told = seconds;
    fmt::print(stderr, "{} cases, {} red, {}\n", done, red.count(), human_seconds(seconds));
  }
  for (const auto& [variant, count] : runs) fmt::print("{:<18} {:>10} cases\n", variant, count);
  fmt::print("{}seed {}: {} clean cases, {} red, {} of them could not have been (zeros would pass), {}\n",
             shares.table(), seed, done, red.count(), told_nothing, human_seconds(seconds));
  if (red.count() > 0) fmt::print("red cases: {}\n", red.path());
  return red.count() == 0 ? 0 : 1;
}

}  // namespace ringside
