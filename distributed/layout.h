// Who holds which token.
#pragma once

#include <string_view>

#include "reference/positions.h"

namespace ringside {

/// contiguous: rank r holds [r·n/P, (r+1)·n/P). zigzag: of 2P chunks, chunks r and 2P-1-r. striped: r, r+P,
/// r+2P, …
enum class Layout { contiguous, zigzag, striped };

std::string_view to_string(Layout layout);

/// Global positions that `rank` of `size` holds of a sequence of `seq` tokens, in local order. Any seq >= 0:
/// chunk c of m is [⌊c·seq/m⌋, ⌊(c+1)·seq/m⌋), so that chunks may differ by a token and some may be empty
/// (empty runs are left out). Throws std::invalid_argument unless 0 <= rank < size.
Positions positions(Layout layout, Index seq, int size, int rank);

}  // namespace ringside
