// The argument checks of the CPU device's operations; all throw std::invalid_argument.
#pragma once

#include <string_view>

#include "kernels/device.h"

namespace ringside {

/// Throws unless `x`, called `what` in the message, has this shape.
void require_shape(std::string_view operation, std::string_view what, const Tensor& x, const Shape& expected);
/// Throws unless `x` has this shape and is stored in `dtype`.
void require_tensor(std::string_view operation, std::string_view what, const Tensor& x, const Shape& expected,
                    DType dtype);
/// Throws with both shapes unless `ok`.
void require_pair(std::string_view operation, bool ok, std::string_view a_name, const Tensor& a,
                  std::string_view b_name, const Tensor& b);
/// Throws unless q: [b, h, n, d], k: [b, h_kv, m, d], v: [b, h_kv, m, e] of one dtype with h % h_kv = 0.
void require_attention(std::string_view operation, const Tensor& q, const Tensor& k, const Tensor& v);
/// Throws unless the runs have positive strides and cover exactly the tensor's tokens.
void require_positions(std::string_view operation, std::string_view what, const Positions& positions,
                       const Tensor& x);
/// Throws unless the documents' starts increase strictly from 0 or later on, before `tokens` and the padding.
void require_documents(std::string_view operation, const Documents& documents, Index tokens);
/// Throws unless there is one slope >= 0 for each of `heads`.
void require_slopes(std::string_view operation, std::span<const float> slopes, Index heads);

}  // namespace ringside
