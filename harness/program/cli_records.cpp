// Sub-commands on results: diff, baseline, gate, history, dashboard.
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <regex>

#include "harness/base/text.h"
#include "harness/program/cli_parts.h"

namespace ringside {
namespace {

void add_diff_options(CLI::App& app, DiffOptions& options) {
  app.option_defaults()->take_last();
  add_input(app, "A", options.a, "A directory of tensors as for check, with its inputs; or a results.jsonl");
  add_input(app, "B", options.b, "Another, of the same inputs or cases");
  add_count(app, "--worst", options.worst, "Places or cases that are shown")->capture_default_str();
}

void add_record_options(CLI::App& app, BaselineRecordOptions& options) {
  app.option_defaults()->take_last();
  add_input(app, "RESULTS", options.results, "results.jsonl of a sweep, or the directory with it");
  app.add_option("--reason", options.reason, "Why these results are good: a line for whoever asks later")
      ->type_name("TEXT")
      ->required();
  app.add_option("--dir", options.dir, "Folder of baselines, one folder a machine in it, made if missing")
      ->type_name("DIR")
      ->capture_default_str();
  app.add_flag(
      "--prune", options.prune,
      "Drop the cases of the same device, communicator and world that did not run; default: they stay");
}

void add_show_options(CLI::App& app, BaselineShowOptions& options) {
  app.add_option("PATH", options.path, "A folder of baselines, a folder in it, or a file")
      ->check(quiet(CLI::ExistingPath))
      ->capture_default_str();
}

/// gate: RESULTS against a baseline, or --base against --head on CASES.
void add_gate_options(CLI::App& app, GateOptions& options) {
  app.option_defaults()->take_last();
  add_input(app, "RESULTS|CASES", options.results,
            "results.jsonl of a sweep, or the directory with it; with --head a CSV file of cases")
      ->type_name("PATH");
  app.add_option(
         "--baseline", options.baseline,
         "Baseline to compare with: a folder of baselines, a folder in it, or a file; with --head the "
         "folder whose FINGERPRINT/noise.csv has the A/A history, by default baselines")
      ->type_name("DIR");
  add_filter(app, options.filter,
             "Only cases in whose name this ECMAScript regular expression is found; default: all");
  CLI::Option* db =
      app.add_option("--db", options.db,
                     "Database of `history`: is a time of RESULTS slower than it was on this machine? "
                     "default: not asked")
          ->type_name("FILE")
          ->check(quiet(CLI::ExistingFile));
  CLI::Option* allow_missing =
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
                          ->type_name("BINARY")
                          ->excludes(db)
                          ->excludes(allow_missing);
  const auto of_binaries = [&](CLI::Option* option) { return option->needs(head); };
  of_binaries(app.add_option("--base", options.base, "The ringside it is compared with"))
      ->type_name("BINARY");
  of_binaries(add_count(app, "--mpi", options.mpi,
                        "Run both under mpirun on so many ranks; default: ranks as threads", kMostRanks));
  of_binaries(app.add_option("--device", options.device, "Device of every rank; default: cpu"))
      ->type_name("NAME");
  of_binaries(add_seconds(app, "--timeout", options.timeout_s,
                          "Seconds that an operation may wait for another rank; default: 120"));
  of_binaries(
      app.add_option("--seed", options.seed, "Of the order of cases; default: a fresh one, which is told"))
      ->type_name("N")
      ->check(quiet(CLI::Range(std::int64_t{0}, std::numeric_limits<std::int64_t>::max())));
  of_binaries(app.add_option("--noise", options.noise,
                             "File of A/A history; default: noise.csv of the machine's baseline"))
      ->type_name("FILE");
  of_binaries(app.add_flag("--calibrate", options.calibrate,
                           "Time --head against itself and add to the A/A history of noise"));
}

void add_history_options(CLI::App& app, HistoryOptions& options) {
  app.require_subcommand(1);
  const auto action = [&app, &options](const char* name, const char* what, HistoryOptions::Action means) {
    CLI::App* sub = app.add_subcommand(name, what);
    sub->parse_complete_callback([&options, means] { options.action = means; });
    sub->add_option("--db", options.db, "The database; a local disk is the place for it")
        ->type_name("FILE")
        ->required();
    return sub;
  };
  CLI::App* add = action("add", "Add results, each file as a whole; a run that is there is not added again",
                         HistoryOptions::Action::add);
  add->add_option("RESULTS", options.results, "results.jsonl, or directories with one")
      ->type_name("PATH")
      ->required()
      ->check(quiet(CLI::ExistingPath));
  CLI::App* list =
      action("list", "Show the runs, and where the series of their cases step", HistoryOptions::Action::list);
  list->option_defaults()->take_last();
  add_filter(*list, options.filter, "Only series of cases in whose name this is found; default: all");
  list->add_option("--figure", options.figure, "Whose series: a time, memory … of results.csv")
      ->type_name("NAME")
      ->capture_default_str();
  CLI::App* all =
      action("export", "Write all that the database has, a row a line", HistoryOptions::Action::export_all);
  CLI::Option* csv = all->add_flag_callback(
      "--csv", [&options] { options.json = false; }, "As CSV (default)");
  all->add_flag("--json", options.json, "As a JSON array")->excludes(csv);
  all->add_option("-o,--out", options.out, "File, replaced in one step; default: standard output")
      ->type_name("FILE");
}

void add_dashboard_options(CLI::App& app, DashboardOptions& options) {
  app.add_option("RESULTS", options.results, "results.jsonl of sweeps, or directories with one")
      ->required()
      ->check(quiet(CLI::ExistingPath));
  app.option_defaults()->take_last();
  app.add_option("--db", options.db,
                 "Database of `history`, whose series of these cases are shown; default: none")
      ->type_name("FILE")
      ->check(quiet(CLI::ExistingFile));
  app.add_option("--gate", options.gates, "File of `gate --json`; may be given again")
      ->type_name("FILE")
      ->take_all()
      ->check(quiet(CLI::ExistingFile));
  app.add_option("-o,--out", options.out, "The page; an earlier one is replaced")
      ->type_name("FILE")
      ->required();
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
  const auto seconds = number_in<double>(text);
  const bool right = seconds && *seconds > 0 && *seconds <= 1e9;
  return right ? std::string{} : fmt::format("{} is not a number above 0, at most 1e9", text);
}

CLI::Validator quiet(CLI::Validator check) { return check.description(""); }

CLI::Option* add_filter(CLI::App& app, std::string& filter, const std::string& help) {
  return app.add_option("--filter", filter, help)->type_name("REGEX")->check(CLI::Validator(check_regex, ""));
}

CLI::Option* add_device(CLI::App& app, std::string& device) {
  return app.add_option("--device", device, "Device of every rank, one that `ringside list` shows")
      ->type_name("NAME")
      ->capture_default_str();
}

CLI::Option* add_input(CLI::App& app, const std::string& name, std::string& path, const std::string& help) {
  return app.add_option(name, path, help)->required()->check(quiet(CLI::ExistingPath));
}

void add_record_commands(CLI::App& app, SubCommands& commands) {
  commands.add(app, "diff", "Compare two directories of tensors, or two results.jsonl, worst first",
               add_diff_options);
  CLI::App* baseline =
      app.add_subcommand("baseline", "Record results to compare later ones with, or show them");
  baseline->require_subcommand(1);
  commands.add(*baseline, "record", "Record results as the baseline of their machine", add_record_options);
  commands.add(*baseline, "show", "Show the recorded baselines: machine, commit, time, reason",
               add_show_options);
  commands.add(app, "gate",
               "Judge a commit: results against their baseline, or two programs against each other",
               add_gate_options);
  commands.add(app, "history", "Keep results in a database, and see where they change", add_history_options);
  commands.add(app, "dashboard",
               "Make one self-contained HTML page of results; its status is 0 whatever they are",
               add_dashboard_options);
}

std::optional<Command> SubCommands::parsed() const {
  const auto entry = std::ranges::find_if(entries_, [](const auto& e) { return e.first->parsed(); });
  return entry == entries_.end() ? std::nullopt : std::optional(entry->second);
}

}  // namespace ringside
