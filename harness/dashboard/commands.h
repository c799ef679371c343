// The command dashboard: results as one page.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace ringside {

struct DashboardOptions {
  std::vector<std::string> results;  ///< results.jsonl, or directories with one
  std::optional<std::string> db{};   ///< database of `history`
  std::vector<std::string> gates{};  ///< what `gate --json` wrote
  std::string out;                   ///< the page
};

/// Writes results as one HTML page: 0, whatever they say.
int dashboard(const DashboardOptions& options);

}  // namespace ringside
