// The sub-commands that work on what others wrote.
#include <fmt/format.h>

#include <charconv>
#include <regex>
#include <system_error>

#include "harness/cli_parts.h"

namespace ringside {
namespace {

void add_diff_options(CLI::App& app, DiffOptions& options) {
  app.option_defaults()->take_last();
  app.add_option("A", options.a, "A directory of tensors as for check, with its inputs; or a results.jsonl")
      ->required()
      ->check(quiet(CLI::ExistingPath));
  app.add_option("B", options.b, "Another, of the same inputs or cases")
      ->required()
      ->check(quiet(CLI::ExistingPath));
  app.add_option("--worst", options.worst, "Places or cases that are shown")
      ->type_name("N")
      ->check(quiet(CLI::Range(1, 1'000'000)))
      ->capture_default_str();
}

void add_dashboard_options(CLI::App& app, DashboardOptions& options) {
  app.add_option("RESULTS", options.results, "results.jsonl of sweeps, or directories with one")
      ->required()
      ->check(quiet(CLI::ExistingPath));
  app.option_defaults()->take_last();
  app.add_option("-o", options.out, "The page; an earlier one is replaced")->type_name("FILE")->required();
}

}  // namespace

std::string check_regex(const std::string& text) {
  try {
    const std::regex compiled(text);
    return {};
  } catch (const std::regex_error& error) {
    return fmt::format("'{}' is not a regular expression: {}", text, error.what());
  }
}

std::string check_seconds(const std::string& text) {
  double seconds = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, seconds);
  const bool right = error == std::errc{} && stop == end && seconds > 0 && seconds <= 1e9;
  return right ? std::string{} : fmt::format("{} is not a number above 0, at most 1e9", text);
}

CLI::Validator quiet(CLI::Validator check) { return check.description(""); }

RecordCommands::RecordCommands(CLI::App& app)
    : diff_app_(app.add_subcommand("diff",
                                   "Compare two directories of tensors, or two results.jsonl, worst first")),
      dashboard_app_(app.add_subcommand(
          "dashboard", "Make one self-contained HTML page of results; its status is 0 whatever they are")) {
  add_diff_options(*diff_app_, diff_);
  add_dashboard_options(*dashboard_app_, dashboard_);
}

std::optional<Command> RecordCommands::parsed() const {
  if (diff_app_->parsed()) return diff_;
  if (dashboard_app_->parsed()) return dashboard_;
  return std::nullopt;
}

}  // namespace ringside
