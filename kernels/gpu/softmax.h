// Host half of softmax attention.
#pragma once

#include <span>
#include <utility>
#include <vector>

#include "kernels/device.h"
#include "kernels/gpu/dispatch.h"
#include "kernels/gpu/matrices.h"
#include "kernels/gpu/softmax_kernels.h"
#include "kernels/gpu/softmax_sizes.h"
#include "kernels/token_tiles.h"

namespace ringside {

/// A block's operands and mask as kernels read them, for as long as this lives.
template <typename Product, typename Launcher>
struct PreparedBlock {
  using Matrices = OperandMatrices<typename Product::Element, Launcher>;

  PreparedBlock(Launcher& launcher, const SoftmaxBlock& block)
      : q(launcher, block.q),
        k(launcher, block.k),
        v(launcher, block.v),
        cu_seqlens(launcher.upload(block.mask.cu_seqlens)) {
    work = {.rule = {block.mask, block.scale},
            .tiles = {},
            .steps = {},
            .batch = block.q.shape().batch,
            .q = q.matrices(),
            .k = k.matrices(),
            .v = v.matrices()};
    work.rule.mask.cu_seqlens = {cu_seqlens.data(), block.mask.cu_seqlens.size()};
  }

  Matrices q, k, v;
  decltype(std::declval<Launcher&>().upload(std::span<const Index>())) cu_seqlens;
  SoftmaxWork work;  ///< but for its tiles and steps
};

/// Tokens in tiles, in the machine's memory.
template <typename Launcher>
class UploadedTiles {
 public:
  UploadedTiles(Launcher& launcher, const Positions& positions, Index tile, std::span<const Index> cu_seqlens)
      : host_(token_tiles(positions, tile, cu_seqlens)),
        tiles_(launcher.upload(std::span<const TokenTile>(host_))) {}
  std::span<const TokenTile> span() const { return {tiles_.data(), host_.size()}; }

 private:
  std::vector<TokenTile> host_;
  decltype(std::declval<Launcher&>().upload(std::span<const TokenTile>())) tiles_;
};

/// Launches a kernel on tiles of some tokens that walk over those of others.
template <typename Kernel, typename Launcher, typename Work, typename... Results>
void launch_tiles(Launcher& launcher, Work work, const Positions& own, const Positions& others,
                  std::span<const Index> cu_seqlens, const Results&... results) {
  const UploadedTiles<Launcher> tiles(launcher, own, Kernel::kTile, cu_seqlens);
  const UploadedTiles<Launcher> steps(launcher, others, Kernel::kStep, cu_seqlens);
  work.tiles = tiles.span();
  work.steps = steps.span();
  static_assert(Kernel::shared_bytes() <= kMostSharedBytes);
  const Kernel kernel{work, results...};
  launcher.launch(kernel, kernel.blocks(), Kernel::shared_bytes());
}

/// As Device::softmax_forward(); arguments are checked, dims up to kMaxDim.
template <typename Launcher>
void gpu_softmax_forward(Launcher& launcher, const SoftmaxBlock& block, Math math, const Tensor& o,
                         const Tensor& lse) {
  with_product(math, block.q.shape().dim, block.v.shape().dim, [&]<typename Product, int kDim>() {
    using Kernel = SoftmaxForwardKernel<Product, SoftmaxSizes<Product, kDim>::forward>;
    const PreparedBlock<Product, Launcher> prepared(launcher, block);
    launch_tiles<Kernel>(launcher, prepared.work, block.q_positions, block.k_positions, block.mask.cu_seqlens,
                         head_matrices(o), lse.view<float>().data);
  });
}

/// As Device::softmax_backward(): dk and dv by tiles of keys, dq by tiles of queries, so that every sum has
/// one order.
template <typename Launcher>
void gpu_softmax_backward(Launcher& launcher, const SoftmaxBlock& block, Math math, const Tensor& dout,
                          const Tensor& lse, const Tensor& delta, const Tensor& dq, const Tensor& dk,
                          const Tensor& dv) {
  const Index rows = lse.shape().size();
  const auto shift = launcher.template scratch<float>(rows);
  launch_each(launcher, rows, ProbabilityShift{lse.view<float>().data, shift.data()});
  with_product(math, block.q.shape().dim, block.v.shape().dim, [&]<typename Product, int kDim>() {
    using Keys = SoftmaxBackwardKeysKernel<Product, SoftmaxSizes<Product, kDim>::backward_keys>;
    using Queries = SoftmaxBackwardQueriesKernel<Product, SoftmaxSizes<Product, kDim>::backward_queries>;
    const PreparedBlock<Product, Launcher> prepared(launcher, block);
    const OperandMatrices<typename Product::Element, Launcher> d_o(launcher, dout);
    const SoftmaxBackwardWork work{prepared.work, d_o.matrices(), shift.data(), delta.view<float>().data};
    launch_tiles<Keys>(launcher, work, block.k_positions, block.q_positions, block.mask.cu_seqlens,
                       head_matrices(dk), head_matrices(dv));
    launch_tiles<Queries>(launcher, work, block.q_positions, block.k_positions, block.mask.cu_seqlens,
                          head_matrices(dq));
  });
}

}  // namespace ringside
