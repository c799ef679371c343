// Options that the units of the command line share. Includes a heavy header: for them alone.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "harness/program/cli.h"

namespace ringside {

/// CLI11 check of an ECMAScript regular expression: empty if right, else what is wrong.
std::string check_regex(const std::string& text);

/// CLI11 check of a duration: empty if right, else what is wrong. 1e9 s, 32 years, still fits a clock's
/// nanoseconds.
std::string check_seconds(const std::string& text);

/// `check` without its words in the help text.
CLI::Validator quiet(CLI::Validator check);

/// The sub-commands that work on what others wrote. It outlives the parsing.
class RecordCommands {
 public:
  explicit RecordCommands(CLI::App& app);
  RecordCommands(const RecordCommands&) = delete;
  RecordCommands& operator=(const RecordCommands&) = delete;

  /// The one that was asked for, if it is one of these.
  std::optional<Command> parsed() const;

 private:
  /// A sub-command, and its options once it is parsed.
  struct Entry {
    CLI::App* app;
    std::function<Command()> command;
  };
  template <typename Options>
  void add(CLI::App& parent, const char* name, const char* help, Options& options,
           void (*add_options)(CLI::App&, Options&));

  DiffOptions diff_;
  BaselineRecordOptions record_;
  BaselineShowOptions show_;
  GateOptions gate_;
  HistoryOptions history_;
  DashboardOptions dashboard_;
  std::vector<Entry> entries_;
};

}  // namespace ringside
