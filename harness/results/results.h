// Results that other tools read: results.jsonl and results.csv.
#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "harness/base/fingerprint.h"
#include "harness/base/line_file.h"
#include "harness/judge/run_case.h"
#include "harness/results/setting.h"

namespace ringside {

/// What every row of a run has in common.
struct RunInfo {
  std::string commit;
  std::string subject;  ///< the commit's first line
  std::string started;  ///< 2026-01-31T23:59:59Z
  Fingerprint machine;
  std::string communicator;
  std::string device;
  int world = 0;                   ///< processes under MPI; 0: each case has its own threads
  bool flushes_denormals = false;  ///< in the device's kernels; the oracle never does

  Setting setting() const { return {machine.id, device, communicator, world}; }
};

/// Writes DIR/results.jsonl and DIR/results.csv. A row has left this process when add() returns, so that a
/// killed run loses none.
class ResultsFile {
 public:
  /// In place of the files of an earlier run. Makes the directory. Throws UsageError if it cannot be written
  /// or another run writes there.
  explicit ResultsFile(const std::string& directory);
  /// Goes on after the first `keep` bytes of results.jsonl, which are whole rows: what follows is cut off, and
  /// results.csv gets their lines, `csv_rows`. Throws as the other, and InfrastructureError if results.csv
  /// cannot be written; the kept rows stay.
  ResultsFile(const std::string& directory, std::size_t keep, const std::vector<std::string>& csv_rows);

  /// Throws InfrastructureError naming the file if a row cannot be written; earlier rows stay.
  void add(const CaseResult& result, const RunInfo& run);

 private:
  LineFile jsonl_, csv_;
};

/// The row of a result: its fields, and beside them the machine's facts, findings, checks, and each rank's
/// operations by name. A case that was skipped has no tensors and figures; null is what is not known.
nlohmann::ordered_json row_json(const CaseResult& result, const RunInfo& run);

/// The line of results.csv of a row of results.jsonl.
std::string csv_row(const nlohmann::ordered_json& row);

}  // namespace ringside
