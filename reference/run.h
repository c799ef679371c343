// Evenly spaced token positions.
#pragma once

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

}  // namespace ringside
