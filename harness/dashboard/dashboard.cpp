// Results as one page to look at.
#include <fmt/format.h>

#include <filesystem>
#include <set>
#include <string_view>
#include <system_error>

#include "harness/base/text.h"
#include "harness/dashboard/commands.h"
#include "harness/dashboard/model.h"
#include "harness/dashboard/page.h"
#include "harness/gate/report.h"
#include "harness/history/history.h"
#include "harness/report/table.h"
#include "reference/error.h"

namespace ringside {
namespace {

/// Throws UsageError if the page would take the place of a file that it is made of.
void needs_another_file(const std::string& out, const std::filesystem::path& read, std::string_view what) {
  std::error_code none_there;
  if (std::filesystem::equivalent(read, out, none_there))
    throw UsageError(fmt::format("{}: {}; the page needs another file", out, what));
}

/// The series of the cases that the results have.
std::vector<Series> history_of(const std::string& file, const std::vector<ResultsLog>& logs) {
  std::set<std::string> names;
  for (const ResultsLog& log : logs) {
    for (const Record& record : log.records) names.insert(record.name);
  }
  std::vector<Series> all = History(file, Database::Access::read).series({});
  std::erase_if(all, [&](const Series& series) { return !names.contains(series.name); });
  return all;
}

}  // namespace

int dashboard(const DashboardOptions& options) {
  DashboardModel model;
  std::vector<ResultsLog> logs;
  std::size_t cases = 0;
  for (const std::string& path : options.results) {
    const ResultsLog& log = logs.emplace_back(model.add_results(path));
    needs_another_file(options.out, log.path, "holds the results");
    if (log.torn) fmt::print(stderr, "ringside: {}\n", torn_note(log));
    cases += log.records.size();
  }
  if (options.db) {
    needs_another_file(options.out, *options.db, "is the database");
    model.add_history(history_of(*options.db, logs));
  }
  for (const std::string& file : options.gates) {
    needs_another_file(options.out, file, "is the gate's report");
    model.add_gate(read_gate_report(file));
  }
  const std::string page = dashboard_page(model.json());
  write_page(options.out, page);
  fmt::print("{}: {} cases, {}\n", options.out, cases, human_bytes(static_cast<double>(page.size())));
  return 0;
}

}  // namespace ringside
