// From tensors and math to the kernels that are made for them.
#pragma once

#include <algorithm>

#include "kernels/simt/limits.h"
#include "kernels/simt/product.h"
#include "kernels/tensor.h"

namespace ringside {

inline HeadMatrices head_matrices(const Tensor& x) {
  const Shape& s = x.shape();
  return {x.data(), x.dtype(), s.heads, s.tokens, static_cast<int>(s.dim)};
}

/// Calls f.template operator()<Product, kDim>() for the arithmetic of `math` and the least kDim that holds
/// both dims.
template <typename F>
void with_product(Math math, Index head_dim, Index value_dim, F&& f) {
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
