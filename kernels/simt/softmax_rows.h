// What softmax attention does row by row beside its blocks: merges, and delta of the backward pass. Kernels
// and their host halves; what each does is said in device.h.
#pragma once

#include <cmath>
#include <limits>

#include "kernels/checks.h"
#include "kernels/device.h"
#include "kernels/simt/rows.h"

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
    const float max = std::isnan(lse_b) || lse_b > lse_a ? lse_b : lse_a;
    const float min = std::isnan(lse_b) || lse_b > lse_a ? lse_a : lse_b;
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

template <typename Launcher>
void simt_softmax_merge(Launcher& launcher, const Tensor& block_o, const Tensor& block_lse, const Tensor& o,
                        const Tensor& lse) {
  require_merge(block_o, block_lse, o, lse);
  launch_rows(launcher, o.shape().rows(),
              SoftmaxMerge{block_o.view<float>().data, block_lse.view<float>().data, o.view<float>().data,
                           lse.view<float>().data, o.shape().dim});
}

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

template <typename Launcher>
void simt_softmax_delta(Launcher& launcher, const Tensor& o, const Tensor& dout, const Tensor& delta) {
  require_delta(o, dout, delta);
  with_type(o.dtype(), [&]<typename A>(A) {
    with_type(dout.dtype(), [&]<typename B>(B) {
      launch_rows(
          launcher, o.shape().rows(),
          SoftmaxDelta<A, B>{o.view<A>().data, dout.view<B>().data, delta.view<float>().data, o.shape().dim});
    });
  });
}

}  // namespace ringside
