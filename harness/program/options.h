// What the command line asks for, as plain values.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "harness/base/terminal.h"
#include "harness/cases/case_file.h"
#include "harness/tensors/axes.h"

namespace ringside {

/// Which cases, and where their ranks live.
struct SessionOptions {
  enum class Comm { automatic, threads, mpi, nccl };

  std::string cases;            ///< CSV file of cases
  std::string filter;           ///< ECMAScript regex searched in case names; empty: all
  std::optional<int> ranks;     ///< threads there are; empty: as many as each case asks for. Not under MPI
  Comm comm = Comm::automatic;  ///< automatic: mpi when started under mpirun, else threads
  std::string device = "cpu";
  double timeout_s = 120;  ///< seconds an operation may wait for another rank
};

struct SweepOptions : SessionOptions {
  std::optional<std::string> out;         ///< directory for results
  std::optional<std::string> dump;        ///< directory for tensors
  std::optional<std::string> trace = {};  ///< file for timelines
  /// Timed iterations a case, at most; by default 3, or 1 where ranks outnumber cores or GPUs and times mean
  /// little.
  std::optional<int> repeat = {};
  bool perf = true;         ///< measure times beside verdicts
  double time_limit_s = 3;  ///< one more iteration of a case once they have taken this many seconds
  bool fail_fast = false;   ///< stop after the first wrong result
  bool resume = false;      ///< keep the rows that `out` holds and run the other cases
  Color color = Color::automatic;
};

/// Timed iterations of a case.
inline int timed_iterations(const SweepOptions& options, bool oversubscribed) {
  return options.perf ? options.repeat.value_or(oversubscribed ? 1 : 3) : 0;
}

struct TimeOptions : SessionOptions {
  std::string out;          ///< file for a line a case
  int repeat = 1000;        ///< timed iterations a case, at most
  double time_limit_s = 1;  ///< one more iteration of a case once they have taken this many seconds
};

struct ExplainOptions : SessionOptions {};

/// A case that is not in a sweep, and how its tensors lie in files.
struct TensorOptions {
  std::string directory;
  std::string filter;             ///< as for sessions, where the case is a case file
  std::optional<Axes> axes = {};  ///< empty: what case.json says, or bhnd
  std::string layout;             ///< a layout's name, or a .npy file; empty: the variant's, or contiguous
};

struct MakeInputsOptions : TensorOptions {
  std::string wanted_case;  ///< "column=value,…" or a case file
  bool by_rank = false;     ///< a file for each rank
};

struct CheckOptions : TensorOptions {
  std::optional<std::string> given_case;  ///< "column=value,…" or a case file
  std::vector<CaseCell> cells;            ///< single columns, stronger than all else
  std::optional<std::string> out;         ///< directory for results
  Color color = Color::automatic;
};

/// The option of check that sets a column: "--cu-seqlens".
inline std::string option_of(std::string_view column) {
  std::string option = "--" + std::string(column);
  std::ranges::replace(option, '_', '-');
  return option;
}

struct DiffOptions {
  std::string a, b;  ///< directories of tensors, or results.jsonl
  int worst = 10;    ///< places that are shown
};

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

struct HistoryOptions {
  enum class Action { add, list, export_all };

  Action action = Action::add;
  std::string db;                             ///< file
  std::vector<std::string> results;           ///< add: results.jsonl, or directories with one
  std::string filter;                         ///< list: regex searched in case names; empty: all
  std::string figure = "forward_backward_s";  ///< list: whose series
  bool json = false;                          ///< export: instead of CSV
  std::optional<std::string> out;             ///< export: file; empty: standard output
};

struct DashboardOptions {
  std::vector<std::string> results;  ///< results.jsonl, or directories with one
  std::optional<std::string> db{};   ///< database of `history`
  std::vector<std::string> gates{};  ///< what `gate --json` wrote
  std::string out;                   ///< the page
};

struct SoakOptions {
  std::optional<double> minutes;     ///< default 1, if cases are not given
  std::optional<int> cases;          ///< at least so many
  std::optional<std::int64_t> seed;  ///< >= 0; empty: a fresh one
  std::string red = "soak-red.csv";  ///< file for the cases that fail, if any does
  std::string device = "cpu";
};

struct MutantsOptions {
  std::string filter;                ///< regex searched in "number bug variant"; empty: all
  std::optional<std::string> cases;  ///< CSV file; empty: the discriminating set, which is compiled in
  std::optional<std::string> csv;    ///< file for a line a run
  bool list = false;                 ///< show them instead
  bool smoke = false;                ///< one variant a bug
  std::string device = "cpu";
};

}  // namespace ringside
