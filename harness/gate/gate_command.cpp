// ringside gate, both forms.
#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <string_view>

#include "harness/base/files.h"
#include "harness/base/line_file.h"
#include "harness/gate/binaries.h"
#include "harness/gate/commands.h"
#include "harness/gate/gate_results.h"
#include "harness/gate/history_findings.h"
#include "reference/error.h"

namespace ringside {

int publish(const GateReport& report, const GateOptions& options) {
  fmt::print("{}", gate_table(report));
  if (options.junit) write_text(gate_junit(report), *options.junit);
  if (options.markdown) write_text(gate_markdown(report), *options.markdown);
  if (options.json) write_text(gate_json(report), *options.json);
  return exit_status(report, options.strict);
}

namespace {

/// `ringside gate RESULTS --baseline DIR`.
int gate_results(const GateOptions& options) {
  const ResultsLog results = read_results(options.results);
  const std::regex filter(options.filter);  // the command line has tried it
  const auto wanted = [&](const std::string& name) {
    return options.filter.empty() || std::regex_search(name, filter);
  };
  GateReport report = compare_exact(results, read_baselines(options.baseline), options.allow_missing, wanted);
  if (options.db) {
    History history(*options.db, Database::Access::read);
    report.history = history_findings(history, results.records);
  }
  return publish(report, options);
}

/// What is there may be replaced only if it is such a report: it begins as one.
void require_report_file(const std::optional<std::string>& file, std::string_view begin) {
  if (!file) return;
  LineFile probe(*file);
  if (!std::filesystem::is_regular_file(*file)) return;
  std::ifstream in(*file, std::ios::binary);
  std::string there(begin.size(), 0);
  in.read(there.data(), static_cast<std::streamsize>(there.size()));
  if (in.gcount() > 0 && there != begin)
    throw UsageError(fmt::format("{}: is there, and no such report; name another file", *file));
}

/// Before anything takes time: reports can be written, each to a file of its own, and over nothing but
/// reports.
void require_report_files(const GateOptions& options) {
  require_report_file(options.junit, "<?xml");
  require_report_file(options.markdown, "### ");
  require_report_file(options.json, "{\n  \"schema\"");
  const auto same = [](const std::optional<std::string>& x, const std::optional<std::string>& y) {
    std::error_code none;
    return x && y && std::filesystem::equivalent(*x, *y, none);
  };
  if (same(options.junit, options.markdown) || same(options.junit, options.json) ||
      same(options.markdown, options.json))
    throw UsageError("gate: two reports in one file");
}

}  // namespace

int gate(const GateOptions& options) {
  require_report_files(options);
  if (!options.head.empty()) return gate_binaries(options);
  if (options.baseline.empty())
    throw UsageError(
        "gate: --baseline DIR is missing, or --base BINARY --head BINARY. See ringside gate --help");
  return gate_results(options);
}

}  // namespace ringside
