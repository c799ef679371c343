// What the dashboard shows: results, their history, what the gate found.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "harness/gate/report.h"
#include "harness/record.h"

namespace ringside {

/// A run's value of one figure.
struct HistoryPoint {
  std::string started{}, commit{}, subject{};
  double value = 0;
};

/// One figure of one case on one machine and build, oldest run first.
struct HistorySeries {
  std::string name{};         ///< of the case
  std::string figure{};       ///< as in figures()
  std::string fingerprint{};  ///< of all its points
  std::vector<HistoryPoint> points{};
  std::vector<std::size_t> steps{};  ///< change points: the first point of each segment but the first
};

struct DashboardData {
  std::vector<ResultsLog> logs{};
  std::vector<HistorySeries> history{};
  std::vector<GateReport> gates{};
};

/// All that the page needs, as JSON: floating-point numbers with six digits, NaN and infinities as strings,
/// what many rows share once. A member of a row that is missing or of another type than results have is null.
std::string dashboard_json(const DashboardData& data);

}  // namespace ringside
