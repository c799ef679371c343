// Which global token positions a run of local tokens has.
#pragma once

#include <vector>

#include "reference/run.h"

namespace ringside {

/// Positions of a rank's local tokens, in local order: the runs one after the other, each increasing.
using Positions = std::vector<Run>;

/// Number of tokens in all runs.
inline Index count(const Positions& positions) {
  Index total = 0;
  for (const Run& run : positions) total += run.count;
  return total;
}

}  // namespace ringside
