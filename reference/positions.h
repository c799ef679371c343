// Which global token positions a run of local tokens has.
#pragma once

#include <vector>

#include "reference/view.h"

namespace ringside {

/// `count` tokens at positions start, start + stride, …; stride >= 1.
struct Run {
  Index start = 0;
  Index stride = 1;
  Index count = 0;

  constexpr Index position(Index i) const { return start + stride * i; }
  friend constexpr bool operator==(const Run&, const Run&) = default;
};

/// Positions of a rank's local tokens, in local order: the runs one after the other, each increasing.
using Positions = std::vector<Run>;

/// Number of tokens in all runs.
inline Index count(const Positions& positions) {
  Index total = 0;
  for (const Run& run : positions) total += run.count;
  return total;
}

}  // namespace ringside
