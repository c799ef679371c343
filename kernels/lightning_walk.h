// How a lightning state walks through a span of tokens in which documents begin and end.
#pragma once

#include <algorithm>
#include <vector>

#include "kernels/decay.h"
#include "kernels/documents.h"
#include "kernels/mask.h"

namespace ringside {

/// Whether the state that leaves a span is wanted.
enum class Leaves { no, yes };

/// What one document has of a span.
struct LightningPart {
  TokenSpan span;
  bool enters = true;  ///< whether the state goes into it: else it begins there
  bool leaves = true;  ///< whether the state that leaves it is wanted: else it may be anything
};

/// A span's parts in the order in which the state meets them.
template <typename Parts>
struct LightningWalk {
  Parts parts;
  TokenSpan padding;   ///< rows of results that are 0
  bool stops = false;  ///< whether the state that leaves the span is 0, whatever the parts made of it
};

/// The walk of S or of R through a span of a chunk; `leaves` is what becomes of the state behind the span.
inline LightningWalk<std::vector<LightningPart>> lightning_walk(const Documents& documents, TokenSpan span,
                                                                Toward toward, Leaves leaves) {
  const bool to_end = toward == Toward::end;
  LightningWalk<std::vector<LightningPart>> walk{{}, documents.padding(span), false};
  walk.stops = !span.empty() && documents.reaching(toward, span).empty();
  for (const TokenSpan part : documents.parts(span)) {
    walk.parts.push_back({part, to_end ? !documents.begin_at(part.first) : part.end == span.end, false});
  }
  if (!to_end) std::ranges::reverse(walk.parts);
  if (!walk.parts.empty()) walk.parts.back().leaves = leaves == Leaves::yes && !walk.stops;
  return walk;
}

/// A span's tiles, of `tile` tokens but for the last, in the order in which the state meets them: a cursor
/// (tile.h).
class SpanTiles {
 public:
  constexpr SpanTiles(TokenSpan span, Index tile, Toward toward)
      : span_(span),
        tokens_(tile),
        step_(toward == Toward::end ? tile : -tile),
        first_(toward == Toward::end ? span.first - tile
                                     : span.first + (span.end - span.first + tile - 1) / tile * tile) {}

  constexpr bool next() {
    first_ += step_;
    return span_.first <= first_ && first_ < span_.end;
  }
  constexpr TokenTile tile() const {
    return {first_, {first_, 1, span_.end - first_ < tokens_ ? span_.end - first_ : tokens_}};
  }
  constexpr Cover cover() const { return Cover::full; }

 private:
  TokenSpan span_;
  Index tokens_, step_;
  Index first_;  ///< of the tile
};

}  // namespace ringside
