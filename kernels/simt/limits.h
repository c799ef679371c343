// What the GPU kernels of attention are made for.
#pragma once

#include "reference/view.h"

namespace ringside {

/// Largest head_dim and value_dim: rows of keys, values and sums lie in registers and shared memory as a
/// whole.
inline constexpr Index kMaxDim = 128;

}  // namespace ringside
