// Results as one page to look at.
#include <fmt/format.h>

#include <filesystem>
#include <system_error>

#include "harness/commands.h"
#include "harness/dashboard/model.h"
#include "harness/dashboard/page.h"
#include "harness/table.h"
#include "reference/error.h"

namespace ringside {

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
  const std::string page = dashboard_page(dashboard_json(data));
  write_page(options.out, page);
  fmt::print("{}: {} cases, {}\n", options.out, cases, human_bytes(static_cast<double>(page.size())));
  return 0;
}

}  // namespace ringside
