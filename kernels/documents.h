// Documents of a packed sequence inside a chunk of tokens.
#pragma once

#include <algorithm>
#include <limits>
#include <vector>

#include "kernels/decay.h"
#include "kernels/token_span.h"

namespace ringside {

/// The documents of a chunk of consecutive tokens. What is in front of the first start belongs to a document
/// that began before the chunk; the last one goes on behind the chunk, unless padding follows. A state
/// crosses no start and does not enter padding. Whoever cuts a chunk into spans asks each span for its own
/// part: the starts in [first, end) are the span's, so that one at its first token keeps out what enters
/// there.
struct Documents {
  std::vector<Index> starts{};                    ///< tokens at which a document begins, strictly increasing
  Index end = std::numeric_limits<Index>::max();  ///< from this token on there is padding

  /// Whether a document begins at `token`.
  bool begin_at(Index token) const { return std::ranges::binary_search(starts, token); }

  /// The span's tokens that a state reaches which enters at its first, or whose share of R leaves there.
  TokenSpan from_start(TokenSpan span) const {
    const auto start = std::ranges::lower_bound(starts, span.first);
    const Index next = start == starts.end() ? span.end : std::min(span.end, *start);
    return {span.first, std::max(span.first, std::min(next, end))};
  }

  /// The span's tokens that a state reaches which enters at its end, or whose share of S leaves there.
  TokenSpan to_end(TokenSpan span) const {
    if (end < span.end) return {span.end, span.end};
    const auto start = std::ranges::lower_bound(starts, span.end);
    return {start == starts.begin() ? span.first : std::max(span.first, *std::prev(start)), span.end};
  }

  /// The span's tokens that have a share of what leaves it.
  TokenSpan reaching(Toward toward, TokenSpan span) const {
    return toward == Toward::end ? to_end(span) : from_start(span);
  }

  /// Whether a state that enters the span leaves it on the other side.
  bool across(TokenSpan span) const { return span.empty() || from_start(span) == span; }

  /// The span's padding.
  TokenSpan padding(TokenSpan span) const { return {std::clamp(end, span.first, span.end), span.end}; }

  /// What each document has of the span, in order.
  std::vector<TokenSpan> parts(TokenSpan span) const {
    std::vector<TokenSpan> parts;
    for (TokenSpan left = {span.first, std::min(span.end, end)}; !left.empty();) {
      const auto next = std::ranges::upper_bound(starts, left.first);
      const Index cut = next == starts.end() ? left.end : std::min(left.end, *next);
      parts.push_back({left.first, cut});
      left.first = cut;
    }
    return parts;
  }
};

}  // namespace ringside
