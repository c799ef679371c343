// Who holds which token.
#pragma once

#include <string>

#include "reference/positions.h"
#include "reference/problem.h"

namespace ringside {

/// contiguous: rank r holds [r·n/P, (r+1)·n/P). zigzag: of 2P chunks, chunks r and 2P-1-r; of packed
/// documents, and of the padding behind them, those chunks of each. striped: r, r+P, r+2P, …
struct Layout {
  enum class Order { contiguous, zigzag, striped };

  Order order = Order::contiguous;
  /// So many consecutive ranks share what one rank of P/parts would hold, in contiguous parts of its local
  /// order.
  int parts = 1;

  static const Layout contiguous, zigzag, striped;
  friend bool operator==(const Layout&, const Layout&) = default;
};

inline constexpr Layout Layout::contiguous{Order::contiguous};
inline constexpr Layout Layout::zigzag{Order::zigzag};
inline constexpr Layout Layout::striped{Order::striped};

/// "zigzag", or "zigzag/2" if two ranks share.
std::string to_string(Layout layout);

/// Global positions that `rank` of `size` holds of a problem's tokens, in local order, which increases. Any
/// seq >= 0: chunk c of m of a stretch of n tokens is [⌊c·n/m⌋, ⌊(c+1)·n/m⌋) (zigzag, of a stretch that
/// starts at s: with (c·n + (s mod m))/m for c·n/m), so that chunks may differ by a token and some may be
/// empty (empty runs are left out). Throws std::invalid_argument unless 0 <= rank < size and parts divides
/// size.
Positions positions(Layout layout, const Problem& problem, int size, int rank);

}  // namespace ringside
