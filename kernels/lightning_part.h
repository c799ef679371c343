// The parts and tiles through which a lightning state walks.
#pragma once

#include "kernels/decay.h"
#include "kernels/mask.h"
#include "kernels/token_span.h"

namespace ringside {

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
