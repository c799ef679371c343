// The balanced schedule of causal attention over contiguous chunks (DistAttn of LightSeq: Li, Shao, Xie,
// Xing, Gonzalez, Stoica, Ma, Zhang 2023): ranks whose queries see few keys help those whose queries see
// many. Who computes and sends what in which step, as data.
#pragma once

#include <optional>

namespace ringside::balanced {

/// The queries of one rank against the keys and values of another, or of the same.
struct Block {
  int queries = 0, keys = 0;
  friend bool operator==(const Block&, const Block&) = default;
};

/// The sides of a block.
enum class Part { queries, keys };

/// A part of a block that is computed away from its home; peer: the rank at the other end.
struct Visit {
  Part part{};
  int peer = 0;
  friend bool operator==(const Visit&, const Visit&) = default;
};

/// What one rank does in one step. What is computed in a step has come in the step before, and what it brings
/// a guest leaves in the step after.
struct Step {
  std::optional<Block> block{};                   ///< computed now, if any
  std::optional<Visit> guest{};                   ///< what of it is another rank's
  std::optional<Visit> send{}, receive{};         ///< guests of the next step's blocks
  std::optional<Visit> give_back{}, take_back{};  ///< what the last step's blocks brought their guests
};

/// Steps of a pass over `size` ranks: size/2 + 1 that compute, and one in which results go home.
constexpr int steps(int size) { return size / 2 + 2; }

/// 0 <= rank < size, 0 <= step < steps(size), any size >= 1.
Step step_of(int size, int rank, int step);

}  // namespace ringside::balanced
