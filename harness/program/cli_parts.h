// Options that the units of the command line share. Includes a heavy header: for them alone.
#pragma once

#include <CLI/CLI.hpp>
#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "harness/program/cli.h"

namespace ringside {

/// CLI11 check of an ECMAScript regular expression: empty if right, else what is wrong.
std::string check_regex(const std::string& text);

/// CLI11 check of a duration: empty if right, else what is wrong. 1e9 s, 32 years, still fits a clock's
/// nanoseconds.
std::string check_seconds(const std::string& text);

/// `check` without its words in the help text.
CLI::Validator quiet(CLI::Validator check);

// --- options that several sub-commands have

CLI::Option* add_filter(CLI::App& app, std::string& filter, const std::string& help);
CLI::Option* add_device(CLI::App& app, std::string& device);

/// A positional argument that names something that is there.
CLI::Option* add_input(CLI::App& app, const std::string& name, std::string& path, const std::string& help);

template <typename T>
CLI::Option* add_seconds(CLI::App& app, const std::string& name, T& seconds, const std::string& help) {
  return app.add_option(name, seconds, help)->type_name("SECONDS")->check(CLI::Validator(check_seconds, ""));
}

/// A whole number from 1 to `most`.
template <typename T>
CLI::Option* add_count(CLI::App& app, const std::string& name, T& count, const std::string& help,
                       int most = 1'000'000) {
  return app.add_option(name, count, help)->type_name("N")->check(quiet(CLI::Range(1, most)));
}

inline constexpr int kMostRanks = 1 << 20;

/// The sub-commands, each with the options that it is parsed into. It outlives the parsing.
class SubCommands {
 public:
  template <typename Options>
  void add(CLI::App& parent, const char* name, const char* help, void (*add_options)(CLI::App&, Options&)) {
    CLI::App* app = parent.add_subcommand(name, help);
    add_options(*app, std::get<Options>(entries_.emplace_back(app, Options{}).second));
  }

  /// The one that was asked for.
  std::optional<Command> parsed() const;

 private:
  std::deque<std::pair<CLI::App*, Command>> entries_;  // whose addresses stay
};

/// Adds those that work on results.
void add_record_commands(CLI::App& app, SubCommands& commands);

}  // namespace ringside
