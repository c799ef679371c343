#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <map>

#include "distributed/mpi_communicator.h"
#include "harness/commands.h"
#include "harness/random_cases.h"
#include "harness/run_case.h"
#include "harness/stopwatch.h"
#include "harness/table.h"
#include "reference/error.h"

namespace ringside {
namespace {

using Seconds = std::chrono::seconds;

/// How much of each limit right variants use.
class Shares {
 public:
  void add(const CaseResult& result) {
    for (const Out out : kOuts) {
      const TensorVerdict& v = result.tensors[out];
      of_["element"].add(v.stats.max_share);
      of_["row"].add(v.row_share);
      of_["bias"].add(v.bias_limit > 0 ? v.bias / v.bias_limit : 0);
    }
  }

  std::string table() const {
    std::string text = fmt::format("{:<18}", "share of the limit");
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

void write_red(const std::string& path, const std::vector<Case>& red) {
  std::ofstream file(path);
  file << case_table(red);
  if (!file.flush()) throw InfrastructureError(fmt::format("{}: cannot be written", path));
}

}  // namespace

int soak(const SoakOptions& options) {
  if (MpiSession::launched_by_mpi())
    throw UsageError(
        "soak: started by mpirun, so every process would repeat the same work; leave mpirun out");
  const std::uint64_t seed = options.seed ? *options.seed : std::random_device()();
  fmt::print(stderr, "seed {}: ringside soak --seed {} repeats these cases\n", seed, seed);
  RandomCases random(seed);
  Shares shares;
  std::vector<Case> red;
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
    InputsCache inputs;
    const Case problem = random.problem();
    const Standard standard = make_standard(problem, fleet);
    for (const Case& c : random.runs_of(problem, 4)) {
      const CaseResult result =
          run_case(c, *find_variant(c.variant, c.op), "cpu", {.repeat = 1}, standard, fleet, inputs);
      ++done;
      ++runs[c.variant];
      shares.add(result);
      told_nothing += result.status == Status::mistrusted ? 1 : 0;
      if (result.status != Status::fail) continue;
      red.push_back(c);
      write_red(options.red, red);
      fmt::print("{}", failure_report(result, options.red));
      std::fflush(stdout);
    }
    seconds += watch.lap();
    if (seconds - told < 10) continue;
    told = seconds;
    fmt::print(stderr, "{} cases, {} red, {}\n", done, red.size(), human_seconds(seconds));
  }
  for (const auto& [variant, count] : runs) fmt::print("{:<18} {:>10} cases\n", variant, count);
  fmt::print("{}seed {}: {} clean cases, {} red, {} that could not have been (their bounds hold zeros), {}\n",
             shares.table(), seed, done, red.size(), told_nothing, human_seconds(seconds));
  if (!red.empty()) fmt::print("red cases: {}\n", options.red);
  return red.empty() ? 0 : 1;
}

}  // namespace ringside
