// The sub-commands that work on what others wrote.
#include <fmt/format.h>

#include <charconv>
#include <cstdint>
#include <limits>
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

/// gate: RESULTS against a baseline, or --base against --head on CASES.
void add_gate_options(CLI::App& app, GateOptions& options) {
  app.option_defaults()->take_last();
  app.add_option("RESULTS|CASES", options.results,
                 "results.jsonl of a sweep, or the directory with it; with --head a CSV file of cases")
      ->type_name("PATH")
      ->required()
      ->check(quiet(CLI::ExistingPath));
  app.add_option("--baseline", options.baseline,
                 "What to compare with: a folder of baselines, a folder in it, or a file; with --head the "
                 "folder whose FINGERPRINT/noise.csv has the A/A history, by default baselines")
      ->type_name("DIR");
  app.add_option("--filter", options.filter,
                 "Only cases in whose name this ECMAScript regular expression is found; default: all")
      ->type_name("REGEX")
      ->check(CLI::Validator(check_regex, ""));
  app.add_flag("--allow-missing", options.allow_missing,
               "Cases of the baseline may be absent or skipped; default: they are red");
  app.add_flag("--strict", options.strict, "Inconclusive timing ends with status 4; default: with 0");
  const auto report = [&](const char* name, std::optional<std::string>& file, const char* help) {
    app.add_option(name, file, help)->type_name("FILE");
  };
  report("--junit", options.junit, "File for JUnit XML; default: none");
  report("--markdown", options.markdown, "File for a summary in Markdown; default: none");
  report("--json", options.json, "File for everything as JSON; default: none");

  CLI::Option* head = app.add_option("--head", options.head,
                                     "The ringside to be judged: its verdicts, and its times in pairs with "
                                     "those of --base")
                          ->type_name("BINARY");
  const auto of_binaries = [&](CLI::Option* option) { return option->needs(head); };
  of_binaries(app.add_option("--base", options.base, "The ringside it is compared with"))
      ->type_name("BINARY");
  of_binaries(app.add_option("--mpi", options.mpi,
                             "Run both under mpirun on so many ranks; default: ranks as threads"))
      ->type_name("N")
      ->check(quiet(CLI::Range(1, 1 << 20)));
  of_binaries(app.add_option("--device", options.device, "Device of every rank; default: cpu"))
      ->type_name("NAME");
  of_binaries(app.add_option("--timeout", options.timeout_s,
                             "Seconds that an operation may wait for another rank; default: 120"))
      ->type_name("SECONDS")
      ->check(CLI::Validator(check_seconds, ""));
  of_binaries(
      app.add_option("--seed", options.seed, "Of the order of cases; default: a fresh one, which is told"))
      ->type_name("N")
      ->check(quiet(CLI::Range(std::int64_t{0}, std::numeric_limits<std::int64_t>::max())));
  of_binaries(app.add_option("--noise", options.noise,
                             "File of A/A history; default: noise.csv of the machine's baseline"))
      ->type_name("FILE");
  of_binaries(
      app.add_flag("--calibrate", options.calibrate,
                   "Time --head against itself and add to the A/A history, which says what noise is"));
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
      gate_app_(app.add_subcommand(
          "gate", "Judge a commit: results against their baseline, or two programs against each other")) {
  add_diff_options(*diff_app_, diff_);
  add_gate_options(*gate_app_, gate_);
}

std::optional<Command> RecordCommands::parsed() const {
  if (diff_app_->parsed()) return diff_;
  if (gate_app_->parsed()) return gate_;
  return std::nullopt;
}

}  // namespace ringside
