// Commands that compare results or programs: baseline and gate.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace ringside {

struct BaselineRecordOptions {
  std::string results;  ///< results.jsonl, or a directory with it
  std::string reason;   ///< why they are good
  std::string dir = "baselines";
  bool prune = false;  ///< forget cases that did not run
};

struct BaselineShowOptions {
  std::string path = "baselines";  ///< of a baseline, or a folder of them
};

/// Of `gate RESULTS --baseline DIR`, and of `gate --base BINARY --head BINARY CASES`, which has `head`.
struct GateOptions {
  // --- both
  std::string results;   ///< results.jsonl, or a directory with it; with `head` a CSV file of cases
  std::string baseline;  ///< a folder of baselines; with `head` empty: "baselines", for noise.csv
  std::string filter;    ///< ECMAScript regex searched in case names; empty: all
  bool strict = false;
  std::optional<std::string> junit, markdown, json;  ///< files for reports
  // --- results
  bool allow_missing = false;       ///< cases of the baseline may be absent or skipped
  std::optional<std::string> db{};  ///< database of `history`, for layer C
  // --- binaries
  std::string base, head;              ///< programs; with `calibrate` head alone, or both the same
  std::optional<int> mpi{};            ///< ranks that are started by launch; empty: threads
  std::string device = "cpu";          ///< as for sessions
  double timeout_s = 120;              ///< likewise
  std::optional<std::int64_t> seed{};  ///< >= 0, of the order of cases; empty: a fresh one
  std::optional<std::string> noise{};  ///< A/A history; empty: BASELINE/FINGERPRINT/noise.csv
  bool calibrate = false;              ///< time head against itself and add to the A/A history
};

/// Records results as the baseline of their machine.
int baseline_record(const BaselineRecordOptions& options);
/// Prints what is recorded, and why.
int baseline_show(const BaselineShowOptions& options);
/// Compares results with their baseline, or two programs with each other: 0, 1, 3, or with `strict` 4.
int gate(const GateOptions& options);

}  // namespace ringside
