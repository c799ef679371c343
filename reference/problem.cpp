#include "reference/problem.h"

#include <bit>
#include <cmath>

namespace ringside {

std::string_view to_string(Operator op) { return op == Operator::softmax ? "softmax" : "lightning"; }

float default_scale(Index head_dim) {
  return static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_dim)));
}

std::vector<float> alibi_slopes(Index heads) {
  const auto slope = [](Index i, Index of) {
    return static_cast<float>(std::exp2(-8.0 * static_cast<double>(i + 1) / static_cast<double>(of)));
  };
  const auto power = static_cast<Index>(std::bit_floor(static_cast<std::uint64_t>(heads)));
  std::vector<float> slopes;
  for (Index i = 0; i < power; ++i) slopes.push_back(slope(i, power));
  for (Index i = 0; std::ssize(slopes) < heads; i += 2) slopes.push_back(slope(i, 2 * power));
  return slopes;
}

}  // namespace ringside
