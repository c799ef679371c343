// Softmax attention row by row on a GPU: merges, the gradient's delta.
#pragma once

#include <cmath>
#include <limits>

#include "kernels/gpu/rows.h"
#include "reference/storage.h"

namespace ringside {

struct SoftmaxMerge {
  const float *block_o, *block_lse;
  float *o, *lse;
  Index dim;

  template <typename Machine>
  RINGSIDE_DEVICE void operator()(Machine, Index row, int lane) const {
    constexpr float kMasked = -std::numeric_limits<float>::infinity();
    const float *const b = block_o + row * dim, lse_b = block_lse[row], lse_a = lse[row];
    float* const a = o + row * dim;
    Machine::sync_warp();  // all have read lse
    // NaN on either side must survive, in a row of one too
    const float max = lse_b != lse_b || lse_b > lse_a ? lse_b : lse_a;
    const float min = lse_b != lse_b || lse_b > lse_a ? lse_a : lse_b;
    if (max == kMasked) {
      for (Index i = lane; i < dim; i += kLanes) a[i] = 0;
      return;
    }
    const float merged = max + std::log1p(Machine::exp(min - max));
    const float weight_a = Machine::exp(lse_a - merged), weight_b = Machine::exp(lse_b - merged);
    for (Index i = lane; i < dim; i += kLanes) a[i] = a[i] * weight_a + b[i] * weight_b;
    if (lane == 0) lse[row] = merged;
  }
};

template <typename A, typename B>
struct SoftmaxDelta {
  const A* o;
  const B* dout;
  float* delta;
  Index dim;

  template <typename Machine>
  RINGSIDE_DEVICE void operator()(Machine, Index row, int lane) const {
    float sum = 0;
    for (Index i = row * dim + lane; i < (row + 1) * dim; i += kLanes)
      sum += to_float(o[i]) * to_float(dout[i]);
    sum = sum_of_lanes<Machine>(sum);
    if (lane == 0) delta[row] = sum;
  }
};

}  // namespace ringside
