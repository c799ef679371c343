// Data of the dashboard as JSON.
#pragma once

#include <string>
#include <vector>

#include "harness/gate/report.h"
#include "harness/history/history.h"
#include "harness/results/record.h"

namespace ringside {

struct DashboardData {
  std::vector<ResultsLog> logs{};
  std::vector<Series> history{};
  std::vector<GateReport> gates{};
};

/// All that the page needs, as JSON: floating-point numbers with six digits, NaN and infinities as strings,
/// what many rows share once. A member of a row that is missing or of another type than results have is null.
std::string dashboard_json(const DashboardData& data);

}  // namespace ringside
