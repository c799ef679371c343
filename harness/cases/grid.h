// The data-parallel × sequence-parallel grid: which rank holds which batch entries and tokens.
#pragma once

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "distributed/variant.h"
#include "harness/cases/case.h"

namespace ringside {

/// One rank's place: sp_rank = rank % sp, dp_rank = rank / sp. Batch entries are dealt out interleaved (as
/// LASP deals them): dp_rank, dp_rank + dp, …
struct Place {
  int dp_rank = 0;
  int sp_rank = 0;

  static Place of(const Case& c, int rank) { return {rank / c.sp, rank % c.sp}; }

  /// Global batch entries, in local order.
  std::vector<Index> batches(const Case& c) const {
    std::vector<Index> all;
    for (Index b = dp_rank; b < c.batch; b += c.dp) all.push_back(b);
    return all;
  }
  /// Global positions of the local tokens.
  Positions tokens(const Case& c, Layout layout) const {
    return positions(layout, c.problem(), c.sp, sp_rank);
  }
};

/// sp_rank that holds each position. Throws std::logic_error if the layout gives a position to two ranks or
/// to none.
inline std::vector<int> holders(const Case& c, Layout layout) {
  std::vector<int> of(static_cast<std::size_t>(c.seq), -1);
  Index held = 0;
  for (int r = 0; r < c.sp; ++r) {
    for (const Run& run : Place{0, r}.tokens(c, layout)) {
      for (Index i = 0; i < run.count; ++i, ++held) of[static_cast<std::size_t>(run.position(i))] = r;
    }
  }
  if (held != c.seq || std::ranges::count(of, -1) > 0)
    throw std::logic_error("a layout that is no partition");
  return of;
}

}  // namespace ringside
