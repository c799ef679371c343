// What a causal mask makes of affine runs of positions.
#pragma once

#include <algorithm>
#include <vector>

#include "reference/positions.h"

namespace ringside {

/// A tile of local tokens: rows first .. first + positions.count - 1, all of one run.
struct TokenTile {
  Index first = 0;
  Run positions;
};

/// The local tokens in tiles of at most `tile` tokens. A tile never straddles two runs, so that its positions
/// are affine.
inline std::vector<TokenTile> token_tiles(const Positions& positions, Index tile) {
  std::vector<TokenTile> tiles;
  Index first = 0;
  for (const Run& run : positions) {
    for (Index i = 0; i < run.count; i += tile) {
      tiles.push_back({first + i, {run.position(i), run.stride, std::min(tile, run.count - i)}});
    }
    first += run.count;
  }
  return tiles;
}

/// How many tokens of `run` stand at `position` or before it.
constexpr Index count_up_to(const Run& run, Index position) {
  return position < run.start ? 0 : std::min(run.count, (position - run.start) / run.stride + 1);
}

/// Which of the pairs (query, key) the mask leaves.
enum class Cover { empty, partial, full };

/// The mask is key position <= query position if `causal`, none otherwise.
constexpr Cover cover(const Run& q, const Run& k, bool causal) {
  if (q.count == 0 || k.count == 0) return Cover::empty;
  if (!causal || k.position(k.count - 1) <= q.start) return Cover::full;
  return k.start <= q.position(q.count - 1) ? Cover::partial : Cover::empty;
}

/// True if no query sees any key: a block that need not be computed.
inline bool fully_masked(const Positions& q, const Positions& k, bool causal) {
  return std::ranges::all_of(q, [&](const Run& queries) {
    return std::ranges::all_of(k,
                               [&](const Run& keys) { return cover(queries, keys, causal) == Cover::empty; });
  });
}

}  // namespace ringside
