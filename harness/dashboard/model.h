// Data of the dashboard as JSON.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "harness/base/json.h"
#include "harness/gate/report.h"
#include "harness/history/history.h"
#include "harness/results/record.h"

namespace ringside {

/// All that the page needs: floating-point numbers with six digits, NaN and infinities as strings, what many
/// rows share once. A member of a row that is missing or of another type than results have is null.
class DashboardModel {
 public:
  DashboardModel();
  /// Adds the rows of a file of results. Throws as read_results() does.
  ResultsLog add_results(const std::filesystem::path& path);
  void add_history(const std::vector<Series>& history);
  void add_gate(const GateReport& report);
  std::string json() const;

 private:
  Json model_;
  std::map<std::string, std::size_t> runs_{};  ///< places of runs, by their text
};

}  // namespace ringside
