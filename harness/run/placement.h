// Says which rank holds which batch entries and tokens.
#pragma once

#include <vector>

#include "distributed/layout.h"
#include "harness/cases/case.h"

namespace ringside {

/// A case on its ranks. World rank r is sequence rank r % sp of data-parallel group r / sp. Batch entries are dealt
/// out interleaved (as LASP deals them): group g holds g, g + dp, …
class Placement {
 public:
  /// Throws std::logic_error if the layout gives a token to two sequence ranks or to none.
  Placement(const Case& c, Layout layout);

  Layout layout() const { return layout_; }
  /// Global batch entries of a world rank, in local order.
  const std::vector<Index>& batches(int rank) const {
    return batches_[static_cast<std::size_t>(rank) / tokens_.size()];
  }
  /// Global positions of a world rank's tokens, in local order.
  const Positions& tokens(int rank) const { return tokens_[static_cast<std::size_t>(rank) % tokens_.size()]; }
  /// Sequence rank of each token.
  const std::vector<int>& holder() const { return holder_; }
  /// World rank that holds a token of a batch entry.
  int rank_of(Index batch, Index token) const;

 private:
  Layout layout_;
  std::vector<std::vector<Index>> batches_;  ///< of each group
  std::vector<Positions> tokens_;            ///< of each sequence rank
  std::vector<int> holder_;
};

}  // namespace ringside
