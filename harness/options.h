// What the command line asks for, as plain values.
#pragma once

#include <optional>
#include <string>

namespace ringside {

struct SweepOptions {
  enum class Comm { automatic, threads, mpi };

  std::string cases{};                ///< CSV file of cases
  std::string filter{};               ///< ECMAScript regex searched in case names; empty: all
  std::optional<std::string> out{};   ///< directory for results
  std::optional<std::string> dump{};  ///< directory for tensors
  int repeat = 3;                     ///< timed runs a case
  std::optional<int> ranks{};         ///< only cases of this world size
  Comm comm = Comm::automatic;        ///< automatic: mpi when started under mpirun, else threads
  std::string device = "cpu";
  bool perf = true;        ///< measure times beside verdicts
  bool fail_fast = false;  ///< stop after the first wrong result
  double timeout_s = 60;   ///< seconds an operation may wait for another rank
};

struct ExplainOptions {
  std::string cases{};
  std::string filter{};
  std::optional<int> ranks{};
  SweepOptions::Comm comm = SweepOptions::Comm::automatic;
};

}  // namespace ringside
