// The command line: from words to plain values.
#pragma once

#include <span>
#include <string>
#include <variant>
#include <vector>

#include "harness/program/commands.h"
#include "harness/program/launch.h"

namespace ringside {

/// Help or version: to be printed, and then done.
struct Text {
  std::string text;
};

struct ListCommand {
  bool columns = false;  ///< of results.csv
};

struct LaunchCommand {
  int ranks = 1;
  std::vector<std::string> program_args;  ///< a command line itself, already found to be right
  LaunchOptions options;
};

using Command =
    std::variant<Text, ListCommand, SweepOptions, TimeOptions, ExplainOptions, CheckOptions,
                 MakeInputsOptions, DiffOptions, BaselineRecordOptions, BaselineShowOptions, GateOptions,
                 HistoryOptions, DashboardOptions, MutantsOptions, SoakOptions, LaunchCommand>;

/// args: without the program's name. Throws UsageError, one line that names the argument, for what it does
/// not understand.
Command parse_command_line(std::span<const std::string> args);

}  // namespace ringside
