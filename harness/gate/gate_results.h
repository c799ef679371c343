// Layer A of the gate: what is the same on any machine, loaded or not, against a baseline.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "harness/gate/baselines.h"
#include "harness/gate/commands.h"
#include "harness/gate/report.h"
#include "harness/results/record.h"

namespace ringside {

/// What the gate makes of an exact figure: nothing if base has none, or both have the same; more is red, and
/// so is a figure that is not told any more.
std::optional<ExactFinding> figure_finding(const std::string& name, const Field& figure,
                                           std::optional<double> before, std::optional<double> now);

/// Compares rows of results with baselines:
/// - A wrong result is red, whatever the baseline says.
/// - A case that passed in the baseline is red if it is now a known fault, was skipped, or is not there. The
///   last two go for the rows of the results' own device, communicator and world: those of their machine, or
///   where it has none those of all machines. With `allow_missing` they are told.
/// - Each exact figure is compared with the row of the case that is nearest: of the same device, then
///   communicator, world, machine, and then the one recorded last. More is red, fewer is told. Messages and
///   held memory have formulas in the case's variant that know neither device nor communicator: any row will
///   do. Others (the peak of memory, operations) need one of the same device and communicator, which decide
///   when memory is given back and how work is cut.
///   A figure that the baseline has and the results lack is red.
/// - Shares of bounds, and times that are not oversubscribed, are compared where device, communicator, world
///   and machine are the same; the largest changes are notes, and nothing is ever red for them.
/// `wanted`: which cases there are, by name. Throws UsageError if no case is in both.
GateReport compare_exact(const ResultsLog& results, const std::vector<StoredBaseline>& baselines,
                         bool allow_missing, const std::function<bool(const std::string&)>& wanted);

/// Prints the report, writes the files that are asked for, and returns the exit status.
int publish(const GateReport& report, const GateOptions& options);

}  // namespace ringside
