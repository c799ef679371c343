// Walks a state through tokens in which documents begin and end.
#pragma once

#include <algorithm>
#include <vector>

#include "kernels/documents.h"
#include "kernels/lightning_part.h"

namespace ringside {

/// Whether the state that leaves a span is wanted.
enum class Leaves { no, yes };

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

}  // namespace ringside
