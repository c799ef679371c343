// Host half of softmax_row_kernels.h.
#pragma once

#include "kernels/checks.h"
#include "kernels/device.h"
#include "kernels/gpu/softmax_row_kernels.h"

namespace ringside {

template <typename Launcher>
void gpu_softmax_merge(Launcher& launcher, const Tensor& block_o, const Tensor& block_lse, const Tensor& o,
                       const Tensor& lse) {
  require_merge(block_o, block_lse, o, lse);
  launch_rows(launcher, o.shape().rows(),
              SoftmaxMerge{block_o.view<float>().data, block_lse.view<float>().data, o.view<float>().data,
                           lse.view<float>().data, o.shape().dim});
}

template <typename Launcher>
void gpu_softmax_delta(Launcher& launcher, const Tensor& o, const Tensor& dout, const Tensor& delta) {
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
