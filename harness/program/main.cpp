// The program: command line to sub-command, errors to exit statuses.
#include <fmt/format.h>
#include <malloc.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "harness/base/terminal.h"
#include "harness/program/cli.h"
#include "harness/program/commands.h"
#include "reference/error.h"

namespace ringside {
namespace {

struct Run {
  bool first_rank;

  int operator()(const Text& text) const {
    if (first_rank) fmt::print("{}\n", text.text);
    return 0;
  }
  int operator()(const ListCommand& command) const {
    if (!first_rank) return 0;
    return command.columns ? list_columns() : list();
  }
  int operator()(const SweepOptions& options) const { return sweep(options); }
  int operator()(const TimeOptions& options) const { return time_cases(options); }
  int operator()(const ExplainOptions& options) const { return explain(options); }
  int operator()(const CheckOptions& options) const { return alone("check", options, check); }
  int operator()(const MakeInputsOptions& options) const {
    return alone("make-inputs", options, make_inputs);
  }
  int operator()(const DiffOptions& options) const { return alone("diff", options, diff); }
  int operator()(const BaselineRecordOptions& options) const {
    return alone("baseline record", options, baseline_record);
  }
  int operator()(const BaselineShowOptions& options) const {
    return alone("baseline show", options, baseline_show);
  }
  int operator()(const GateOptions& options) const { return alone("gate", options, gate); }
  int operator()(const HistoryOptions& options) const { return alone("history", options, history); }
  int operator()(const DashboardOptions& options) const { return alone("dashboard", options, dashboard); }
  int operator()(const MutantsOptions& options) const { return mutants(options); }
  int operator()(const SoakOptions& options) const { return soak(options); }
  int operator()(const LaunchCommand& command) const {
    return launch(command.ranks, command.program_args, command.options);
  }

  /// A command of one process. Another rank of a job does nothing, which must not pass for success.
  template <typename Options>
  int alone(std::string_view name, const Options& options, int (*command)(const Options&)) const {
    if (first_rank) return command(options);
    fmt::print(
        stderr,
        "ringside: {} runs in one process, and the environment says that this is not rank 0 of a job\n",
        name);
    return 2;
  }
};

int run(std::span<const std::string> args) {
  const std::optional<int> rank = environment_rank();
  const std::string who = rank ? fmt::format("ringside: rank {}", *rank) : "ringside";
  const auto tell = [](const std::string& text) { std::fputs(text.c_str(), stderr); };  // or nobody listens
  try {
    const int status = std::visit(Run{.first_rank = rank.value_or(0) == 0}, parse_command_line(args));
    flush_output();
    return status;
  } catch (const UsageError& error) {
    // All ranks read the same; rank 0 says it. mpirun ends all ranks when the first one leaves: that must be
    // rank 0.
    if (rank.value_or(0) == 0) {
      tell(fmt::format("ringside: {}\n", error.what()));
    } else {
      sleep(1);
    }
    return 2;
  } catch (const std::exception& error) {
    tell(fmt::format("{}: {}\n", who, error.what()));
    return 5;
  }
}

}  // namespace
}  // namespace ringside

int main(int argc, char** argv) {
  ringside::fill_standard_streams();
  // Oracles, devices and harness make and drop arrays of many megabytes: kept by malloc for the next case
  // instead of given back to the system, whose fresh pages took a third of a sweep's time. One arena, lest
  // each thread keep its own.
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
  mallopt(M_TOP_PAD, 64 << 20);
  std::vector<std::string> args(argv + 1, argv + argc);
  const bool launched = !args.empty() && args.front().starts_with(ringside::launched_flag);
  if (launched) {
    ringside::set_terminal(args.front().substr(args.front().find('=') + 1));
    args.erase(args.begin());
  }
  const int status = ringside::run(args);
  return launched ? ringside::rank_status(status) : status;
}
