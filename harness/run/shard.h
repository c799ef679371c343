// Which part of a problem this process judges.
#pragma once

#include "harness/cases/case.h"
#include "reference/problem.h"

namespace ringside {

/// The (batch, kv head) groups [first, last) of a case, in order b·kv_heads + kv_head. A group is independent
/// of all others, so a shard is a problem of its own: batch 1, one kv head a group. The groups are dealt out
/// evenly.
struct Shard {
  Index first = 0;
  Index last = 0;

  /// The groups that `process` of `processes` judges.
  static Shard of(const Case& c, int process, int processes) {
    const Index groups = c.batch * c.kv_heads;
    return {groups * process / processes, groups * (process + 1) / processes};
  }

  Index groups() const { return last - first; }

  /// The shard as a problem: batch 1, kv_heads = groups, heads = groups · (heads / kv_heads).
  Problem problem(const Case& c) const;

  /// Global batch entry of the shard's head or kv head `local`, of which there are `per_group` a group.
  Index batch_of(const Case& c, Index local, Index per_group) const {
    return (first + local / per_group) / c.kv_heads;
  }
  /// Global index, within its batch entry, of the shard's head or kv head `local`.
  Index head_of(const Case& c, Index local, Index per_group) const {
    return (first + local / per_group) % c.kv_heads * per_group + local % per_group;
  }
};

}  // namespace ringside
