// Picks the kernels for an operation's math.
#pragma once

#include <algorithm>
#include <stdexcept>
#include <string>

#include "kernels/gpu/limits.h"
#include "kernels/gpu/product.h"

namespace ringside {

/// Calls f.template operator()<Product, kDim>() for the arithmetic of `math` and the least kDim that holds
/// both dims. Throws std::invalid_argument if there is none.
template <typename F>
void with_product(Math math, Index head_dim, Index value_dim, F&& f) {
  if (std::max(head_dim, value_dim) > kMaxDim) {
    throw std::invalid_argument("dims " + std::to_string(head_dim) + " and " + std::to_string(value_dim) +
                                ": the GPU's kernels take at most " + std::to_string(kMaxDim));
  }
  const bool small = std::max(head_dim, value_dim) <= 64;
  const auto with_dim = [&]<typename Product>() {
    if (small) {
      f.template operator()<Product, 64>();
    } else {
      f.template operator()<Product, kMaxDim>();
    }
  };
  if (math == Math::bf16) {
    with_dim.template operator()<Bf16Product>();
  } else if (math == Math::tf32) {
    with_dim.template operator()<Tf32Product>();
  } else {
    with_dim.template operator()<FmaProduct>();
  }
}

}  // namespace ringside
