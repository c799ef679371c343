// Changes of inputs whose effect on right results is known.
#pragma once

#include <array>
#include <initializer_list>
#include <vector>

#include "harness/tensors/inputs.h"

namespace ringside {

/// Some of the four tensors.
class TensorSet {
 public:
  TensorSet(std::initializer_list<TensorId> ids) {
    for (const TensorId id : ids) has_[static_cast<std::size_t>(id)] = true;
  }
  bool contains(TensorId id) const { return has_[static_cast<std::size_t>(id)]; }

 private:
  std::array<bool, 4> has_{};
};

/// No change by default.
struct InputsChange {
  TensorSet tensors = {};    ///< those that are drawn anew or multiplied
  Index first = 0, end = 0;  ///< positions [first, end) of these are drawn with another seed
  float factor = 1;          ///< all of these are multiplied by it: a power of two
  Index batch_shift = 0;     ///< batch entry b gets the data of entry (b + batch_shift) mod batch
  Index kv_head_shift = 0;   ///< kv head h likewise, and the query heads (and slopes) of its group with it

  /// Whose data a batch entry or kv head has.
  Index batch_from(const Case& c, Index b) const { return (b + batch_shift) % c.batch; }
  Index kv_head_from(const Case& c, Index h) const { return (h + kv_head_shift) % c.kv_heads; }

  /// Values of one head of a tensor at `positions`: [tokens, dim], as ringside::generate() makes them. Factor
  /// and dtype must go together: what storage cannot hold is not rounded again. Throws what that does.
  std::vector<float> generate(const Case& c, TensorId id, Index b, Index h, const Positions& positions) const;

  /// The problem that the changed inputs belong to: slopes moved with their heads.
  Problem of(Problem problem) const;
};

}  // namespace ringside
