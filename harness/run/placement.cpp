#include "harness/run/placement.h"

#include <algorithm>
#include <stdexcept>

namespace ringside {

Placement::Placement(const Case& c, Layout layout)
    : layout_(layout),
      batches_(static_cast<std::size_t>(c.dp)),
      holder_(static_cast<std::size_t>(c.seq), -1) {
  for (Index b = 0; b < c.batch; ++b) batches_[static_cast<std::size_t>(b % c.dp)].push_back(b);
  const Problem problem = c.problem();
  Index held = 0;
  for (int rank = 0; rank < c.sp; ++rank) {
    for (const Run& run : tokens_.emplace_back(positions(layout, problem, c.sp, rank))) {
      for (Index i = 0; i < run.count; ++i, ++held) holder_[static_cast<std::size_t>(run.position(i))] = rank;
    }
  }
  if (held != c.seq || std::ranges::count(holder_, -1) > 0)
    throw std::logic_error("a layout that is no partition");
}

int Placement::rank_of(Index batch, Index token) const {
  const Index group = batch % std::ssize(batches_);
  return static_cast<int>(group * std::ssize(tokens_)) + holder_[static_cast<std::size_t>(token)];
}

}  // namespace ringside
