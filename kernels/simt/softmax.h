// The host half of softmax attention on a GPU, whatever machine runs the kernels.
#pragma once

#include <algorithm>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "kernels/device.h"
#include "kernels/simt/dispatch.h"
#include "kernels/simt/launch.h"
#include "kernels/simt/softmax_kernels.h"
#include "kernels/simt/softmax_sizes.h"

namespace ringside {

/// A block's tiles and mask in the machine's memory.
template <typename Launcher>
struct UploadedBlock {
  template <typename T>
  using Array = decltype(std::declval<Launcher&>().upload(std::span<const T>()));

  UploadedBlock(Launcher& launcher, const SoftmaxBlock& block, Index q_tile, Index k_tile)
      : q_host(token_tiles(block.q_positions, q_tile, block.mask.cu_seqlens)),
        k_host(token_tiles(block.k_positions, k_tile, block.mask.cu_seqlens)),
        q_tiles(launcher.template upload<TokenTile>(q_host)),
        k_tiles(launcher.template upload<TokenTile>(k_host)),
        cu_seqlens(launcher.template upload<Index>(block.mask.cu_seqlens)) {
    work = {.rule = {block.mask, block.scale},
            .tiles = {},
            .steps = {},
            .batch = block.q.shape().batch,
            .q = head_matrices(block.q),
            .k = head_matrices(block.k),
            .v = head_matrices(block.v)};
    work.rule.mask.cu_seqlens = {cu_seqlens.data(), block.mask.cu_seqlens.size()};
  }
  std::span<const TokenTile> queries() const { return {q_tiles.data(), q_host.size()}; }
  std::span<const TokenTile> keys() const { return {k_tiles.data(), k_host.size()}; }

  std::vector<TokenTile> q_host, k_host;
  Array<TokenTile> q_tiles, k_tiles;
  Array<Index> cu_seqlens;
  SoftmaxWork work;
};

/// As Device::softmax_forward(); arguments are checked, dims up to kMaxDim.
template <typename Launcher>
void simt_softmax_forward(Launcher& launcher, const SoftmaxBlock& block, Math math, const Tensor& o,
                          const Tensor& lse) {
  with_product(math, block.q.shape().dim, block.v.shape().dim, [&]<typename Product, int kDim>() {
    using Kernel = SoftmaxForwardKernel<Product, SoftmaxSizes<Product, kDim>::forward>;
    UploadedBlock<Launcher> uploaded(launcher, block, Kernel::kTile, Kernel::kStep);
    uploaded.work.tiles = uploaded.queries();
    uploaded.work.steps = uploaded.keys();
    const Kernel kernel{uploaded.work, head_matrices(o), lse.view<float>().data};
    launcher.launch(kernel, kernel.blocks(), kernel.shared_bytes());
  });
}

struct ProbabilityShift {
  const float* lse;
  float* shift;
  RINGSIDE_DEVICE void operator()(Index row) const { shift[row] = probability_shift(lse[row]); }
};

/// As Device::softmax_backward(): dk and dv by tiles of keys, dq by tiles of queries, so that every sum has
/// one order.
template <typename Launcher>
void simt_softmax_backward(Launcher& launcher, const SoftmaxBlock& block, Math math, const Tensor& dout,
                           const Tensor& lse, const Tensor& delta, const Tensor& dq, const Tensor& dk,
                           const Tensor& dv) {
  const Index rows = lse.shape().size();
  const auto shift = launcher.template scratch<float>(rows);
  launch_each(launcher, rows, ProbabilityShift{lse.view<float>().data, shift.data()});
  with_product(math, block.q.shape().dim, block.v.shape().dim, [&]<typename Product, int kDim>() {
    using Keys = SoftmaxBackwardKeysKernel<Product, SoftmaxSizes<Product, kDim>::backward_keys>;
    using Queries = SoftmaxBackwardQueriesKernel<Product, SoftmaxSizes<Product, kDim>::backward_queries>;
    const auto with_tiles = [&](SoftmaxWork& work, std::span<const TokenTile> tiles,
                                std::span<const TokenTile> steps) {
      work.tiles = tiles;
      work.steps = steps;
      return SoftmaxBackwardWork{work, head_matrices(dout), shift.data(), delta.view<float>().data};
    };
    {
      UploadedBlock<Launcher> x(launcher, block, Keys::kStep, Keys::kTile);
      const Keys kernel{with_tiles(x.work, x.keys(), x.queries()), head_matrices(dk), head_matrices(dv)};
      launcher.launch(kernel, kernel.blocks(), kernel.shared_bytes());
    }
    UploadedBlock<Launcher> x(launcher, block, Queries::kTile, Queries::kStep);
    const Queries kernel{with_tiles(x.work, x.queries(), x.keys()), head_matrices(dq)};
    launcher.launch(kernel, kernel.blocks(), kernel.shared_bytes());
  });
}

}  // namespace ringside
