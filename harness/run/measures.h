// Brings the ranks' measurements together.
#pragma once

#include <vector>

#include "harness/run/subject.h"

namespace ringside {

/// Seconds of each timed iteration, the slowest rank's each time.
struct IterationTimes {
  std::vector<double> forward{}, forward_backward{};
};

/// Gives every process every rank's measures, one a rank of the world, in `ranks`, and the times. Collective.
IterationTimes share_measures(const std::vector<RankRun>& mine, Fleet& fleet,
                              std::vector<RankMeasure>& ranks);

}  // namespace ringside
