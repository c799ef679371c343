// Valid cases without end, from a seed.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "distributed/variant.h"
#include "harness/cases/case.h"

namespace ringside {

/// Draws problems and the variants and splits that run them. The same seed gives the same cases with every
/// compiler.
class RandomCases {
 public:
  explicit RandomCases(std::uint64_t seed) : random_(seed) {}

  /// A problem on one rank, of the variant that computes it there: sizes mostly small and odd, each below its
  /// own limit, at most some 10^8 useful operations; any dtype, math, fill, mask, decay and grouping of
  /// heads. A third of softmax problems have documents, padding or both, a third of causal ones a window, a
  /// quarter of them rounds partial results.
  Case problem();

  /// `count` variants and splits (of at most 8 ranks) of that problem, each supported.
  std::vector<Case> runs_of(const Case& problem, int count);

 private:
  /// Uniform in [low, high].
  Index between(Index low, Index high);
  /// Bounds of documents and padding, or neither, and a window.
  void draw_documents(Case& c);
  /// As likely below 10 as between 10 and 100.
  Index size_up_to(Index high);
  template <typename Range>
  auto one_of(const Range& all) {
    return all[static_cast<std::size_t>(between(0, std::ssize(all) - 1))];
  }

  std::mt19937_64 random_;
};

}  // namespace ringside
