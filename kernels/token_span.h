// Consecutive tokens of a chunk.
#pragma once

#include <limits>

#include "reference/view.h"

namespace ringside {

/// Tokens [first, end) of a chunk.
struct TokenSpan {
  Index first = 0;
  Index end = 0;

  constexpr bool empty() const { return end <= first; }
  friend constexpr bool operator==(const TokenSpan&, const TokenSpan&) = default;
};

/// All tokens that there are.
inline constexpr TokenSpan kEveryToken{0, std::numeric_limits<Index>::max()};

}  // namespace ringside
