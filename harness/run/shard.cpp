#include "harness/run/shard.h"

namespace ringside {

Problem Shard::problem(const Case& c) const {
  const Problem whole = c.problem();
  Problem part = whole;
  part.batch = 1;
  part.kv_heads = groups();
  part.heads = groups() * whole.group();
  if (!whole.slopes.empty()) {
    part.slopes.clear();
    for (Index i = 0; i < part.heads; ++i) {
      part.slopes.push_back(whole.slopes[static_cast<std::size_t>(head_of(c, i, whole.group()))]);
    }
  }
  return part;
}

}  // namespace ringside
