// Results as one page to look at.
#include <fmt/format.h>

#include <filesystem>
#include <set>
#include <system_error>

#include "harness/commands.h"
#include "harness/dashboard/model.h"
#include "harness/dashboard/page.h"
#include "harness/gate/report.h"
#include "harness/history/history.h"
#include "harness/table.h"
#include "reference/error.h"

namespace ringside {

namespace {

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
  DashboardData data;
  std::size_t cases = 0;
  for (const std::string& path : options.results) {
    const ResultsLog& log = data.logs.emplace_back(read_results(path));
    std::error_code error;
    if (std::filesystem::equivalent(log.path, options.out, error))
      throw UsageError(fmt::format("{}: holds the results; the page needs another file", options.out));
    if (log.torn) fmt::print(stderr, "ringside: {}\n", torn_note(log));
    cases += log.records.size();
  }
  if (options.db) data.history = history_of(*options.db, data.logs);
  for (const std::string& file : options.gates) data.gates.push_back(read_gate_report(file));
  const std::string page = dashboard_page(dashboard_json(data));
  write_page(options.out, page);
  fmt::print("{}: {} cases, {}\n", options.out, cases, human_bytes(static_cast<double>(page.size())));
  return 0;
}

}  // namespace ringside
