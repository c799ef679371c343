#include "harness/tensors/inputs_change.h"

#include <algorithm>

namespace ringside {

std::vector<float> InputsChange::generate(const Case& c, TensorId id, Index b, Index h,
                                          const Positions& positions) const {
  const Shape shape = shape_of(c, id);
  const Index from_b = batch_from(c, b);
  const Index from_h = (h + kv_head_shift * (shape.heads / c.kv_heads)) % shape.heads;
  const auto drawn = [&](const Case& of) {
    return ringside::generate(of, id, std::span(&from_b, 1), {from_h, from_h + 1}, positions);
  };
  std::vector<float> values = drawn(c);
  if (!tensors.contains(id)) return values;
  if (first < end) {
    Case other = c;
    other.seed ^= std::uint64_t{1} << 63;  // no case file has such a seed
    const std::vector<float> anew = drawn(other);
    Index row = 0;
    for (const Run& run : positions) {
      for (Index i = 0; i < run.count; ++i, ++row) {
        if (run.position(i) < first || run.position(i) >= end) continue;
        std::copy_n(anew.begin() + row * shape.dim, shape.dim, values.begin() + row * shape.dim);
      }
    }
  }
  for (float& x : values) x *= factor;
  return values;
}

Problem InputsChange::of(Problem problem) const {
  if (!problem.slopes.empty()) {
    const Index shift = kv_head_shift * problem.group() % problem.heads;
    std::ranges::rotate(problem.slopes, problem.slopes.begin() + shift);
  }
  return problem;
}

}  // namespace ringside
