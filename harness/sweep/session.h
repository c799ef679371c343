// A session: devices, ranks and errors of a run. Where ranks live, how errors end a run.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "harness/results/results.h"
#include "harness/run/runner.h"
#include "harness/sweep/commands.h"

namespace ringside {

/// What the options ask of NCCL in vain, if they do: `built` with it or not, `launched` by mpirun or not.
std::optional<std::string> why_no_nccl(const SessionOptions& options, bool built, bool launched);

/// Runs body on the device and fleet that the options ask for and returns its status. Under MPI an error that
/// all processes meet alike (UsageError, also of a device that is not here) is thrown in all; any other error
/// of one of them is printed there and ends them all with status 5 (MPI_Abort).
int in_session(const SessionOptions& options, const std::function<int(const Runner&)>& body);

/// Runs body in the root process; what it throws is thrown in all. Collective.
void on_root(Fleet& fleet, const std::function<void()>& body);

/// What is known of a run before its first case.
RunInfo run_info(const Runner& runner);

}  // namespace ringside
