// Finds the rows that a resumed sweep keeps.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "harness/judge/verdict.h"
#include "harness/results/results.h"
#include "harness/run/fleet.h"
#include "harness/sweep/plan.h"

namespace ringside {

struct Kept {
  std::map<Status, int> counts{};
  std::vector<std::string> red{};       ///< "FAIL <name>"
  std::vector<Case> left{};             ///< the plan's cases that have no row, in its order
  std::size_t bytes = 0;                ///< of results.jsonl that the rows take, in the root process
  std::vector<std::string> csv_rows{};  ///< their lines of results.csv, likewise

  /// Whether a case of a kept row was run.
  bool ran() const { return counts.size() > counts.count(Status::skip); }
};

/// The rows of DIR/results.jsonl, none if there is no such file. The same in all processes, but for `bytes` and `csv_rows`;
/// collective. Throws UsageError, naming both sides, if a row comes from another commit, machine, device,
/// communicator, world or schema, if its case is not in the plan or was another one, or was
/// skipped and now would not be.
Kept keep_rows(const std::string& directory, const RunInfo& run, const Plan& plan, Fleet& fleet);

/// "kept 34 rows of an earlier run: 33 pass, 1 FAIL", and the red ones; empty if there are none.
std::string kept_summary(const Kept& kept);

}  // namespace ringside
