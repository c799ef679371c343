// Commands on many cases: sweep, explain, and times for the gate.
#pragma once

#include <optional>
#include <string>

#include "harness/base/terminal.h"

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

/// Runs every case that is asked for and judges it.
int sweep(const SweepOptions& options);
/// Times cases and judges nothing.
int time_cases(const TimeOptions& options);
/// Runs cases without timing and says, for the worst element of each tensor, what its bound is made of.
int explain(const ExplainOptions& options);

}  // namespace ringside
