// Tiles of a rank's tokens, and those a mask empties.
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "kernels/mask.h"
#include "reference/positions.h"

namespace ringside {

/// The local tokens in tiles of at most `tile` tokens. A tile straddles neither two runs, so that its
/// positions are affine, nor two documents (Problem::cu_seqlens), so that no product mixes a NaN of one into
/// another.
inline std::vector<TokenTile> token_tiles(const Positions& positions, Index tile,
                                          std::span<const Index> cu_seqlens = {}) {
  std::vector<TokenTile> tiles;
  Index first = 0;
  for (const Run& run : positions) {
    for (Index i = 0; i < run.count;) {
      const auto bound = std::upper_bound(cu_seqlens.begin(), cu_seqlens.end(), run.position(i));
      const Index end = bound == cu_seqlens.end() ? run.count : count_up_to(run, *bound - 1);
      const Index tokens = std::min(tile, end - i);
      tiles.push_back({first + i, {run.position(i), run.stride, tokens}});
      i += tokens;
    }
    first += run.count;
  }
  return tiles;
}

/// True if no query sees any key: a block that need not be computed.
inline bool fully_masked(const Positions& q, const Positions& k, const Mask& mask) {
  return std::ranges::all_of(q, [&](const Run& queries) {
    return std::ranges::all_of(k,
                               [&](const Run& keys) { return cover(queries, keys, mask) == Cover::empty; });
  });
}

}  // namespace ringside
