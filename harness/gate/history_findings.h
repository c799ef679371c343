// Layer C of the gate: slow drift, seen in the history of a machine.
#pragma once

#include <vector>

#include "harness/gate/report.h"
#include "harness/history/history.h"

namespace ringside {

/// For each case of a run, and each of forward_s and forward_backward_s, the last change in the series of its
/// machine, device, communicator and ranks, if there is one. The series is what the history has up to the
/// run's start, and the run itself, added to it if it is not there. Rows whose times enter no series (red,
/// skipped, oversubscribed) are passed over.
///
/// slower: the newest segment (at least 2 points) lies above the one before by more than kHistoryDelta. If it
/// lies above by less, but at the end of an unbroken rise that in all exceeds kHistoryDelta, the rise is
/// what is told: `before` is the segment that it begins from, `since` its first commit. Otherwise the last
/// change is told, and slower is false.
std::vector<HistoryFinding> history_findings(History& history, const std::vector<Record>& records);

/// The finding that a series' changes make; it has at least one.
HistoryFinding finding_of(const Series& series);

}  // namespace ringside
