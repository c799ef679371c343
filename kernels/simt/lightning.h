// The host half of fused lightning attention on a GPU, whatever machine runs the kernels. Arguments are
// checked, dims up to kMaxDim.
#pragma once

#include <type_traits>
#include <vector>

#include "kernels/checks.h"
#include "kernels/simt/dispatch.h"
#include "kernels/simt/elementwise.h"
#include "kernels/simt/lightning_kernels.h"

namespace ringside {

/// For each kind of arithmetic, dims up to kDim, and columns of a block's slice. bf16: the next tile comes
/// while one is computed; elements of 4 bytes leave no room for that.
template <typename Product, int kDim, int kSlice>
inline constexpr TileSizes kLightningSizes = {.tile = 64,
                                              .step = 64,
                                              .head_dim = kDim,
                                              .value_dim = kSlice,
                                              .warps = 4,
                                              .stages = std::is_same_v<Product, Bf16Product> ? 2 : 1};
/// Where batch and heads alone must fill the GPU, and where there are more roles or blocks. The scores are
/// computed once a slice.
inline constexpr int kNarrowSlice = 32, kWideSlice = 64;

/// `blocks` matrices for each head.
inline BlockMatrices block_matrices(const Tensor& states, Index blocks) {
  const Shape& s = states.shape();
  return {states.view<float>().data, s.heads, blocks, static_cast<int>(s.tokens / blocks),
          static_cast<int>(s.dim)};
}

/// A chunk as one block.
inline TokenBlocks whole(const LightningChunk& chunk) {
  const Index tokens = chunk.q.shape().tokens;
  return {tokens, std::max<Index>(1, tokens)};
}

/// How a state walks through the blocks of a chunk, in the machine's memory.
template <typename Launcher>
class ScanWalk {
 public:
  ScanWalk(Launcher& launcher, const Documents& documents, const TokenBlocks& cut, Toward toward,
           Leaves leaves)
      : ScanWalk(launcher, Host(documents, cut, toward, leaves), toward) {}

  /// The scan of a, b and c to out from the states that enter.
  ScanRole role(const Tensor& a, const Tensor& b, const Tensor& c, const HeadMatrices& out, bool transposed,
                const BlockMatrices& own, const BlockMatrices& incoming) const {
    return {.a = head_matrices(a),
            .b = head_matrices(b),
            .c = head_matrices(c),
            .out = out,
            .toward = toward_,
            .transposed = transposed,
            .own = own,
            .incoming = incoming,
            .leaving = {},
            .blocks = blocks_.data(),
            .parts = parts_.data()};
  }

 private:
  struct Host {
    Host(const Documents& documents, const TokenBlocks& cut, Toward toward, Leaves leaves) {
      for (Index i = 0; i < cut.count(); ++i) {
        const auto walk = lightning_walk(documents, cut.span(i), toward, leaves);
        const TokenSpan way = cut.on_the_way_to(i, toward);
        blocks.push_back({std::ssize(parts), std::ssize(walk.parts), walk.padding, walk.stops,
                          documents.across(way), way.end - way.first});
        parts.insert(parts.end(), walk.parts.begin(), walk.parts.end());
      }
    }
    std::vector<LightningPart> parts;
    std::vector<ScanBlock> blocks;
  };
  ScanWalk(Launcher& launcher, const Host& host, Toward toward)
      : toward_(toward),
        parts_(launcher.template upload<LightningPart>(host.parts)),
        blocks_(launcher.template upload<ScanBlock>(host.blocks)) {}

  Toward toward_;
  typename Launcher::template Array<LightningPart> parts_;
  typename Launcher::template Array<ScanBlock> blocks_;
};

/// Up to three scans in one launch.
template <int kSlice, typename Launcher>
void launch_scans(Launcher& launcher, const LightningChunk& chunk, Math math, const ScanRole& first,
                  const ScanRole& second = {}, const ScanRole& third = {}) {
  const auto slopes = launcher.upload(chunk.slopes);
  const Shape& q = chunk.q.shape();
  with_product(math, q.dim, chunk.v.shape().dim, [&]<typename Product, int kDim>() {
    using Kernel = LightningScanKernel<Product, kLightningSizes<Product, kDim, kSlice>>;
    static_assert(Kernel::shared_bytes() <= kMostSharedBytes);
    const Kernel kernel{{first, second, third}, slopes.data(), q.batch, q.heads};
    launcher.launch(kernel, kernel.blocks(), Kernel::shared_bytes());
  });
}

/// As Device::lightning_forward().
template <typename Launcher>
void simt_lightning_forward(Launcher& launcher, const LightningChunk& chunk, Math math, const Tensor& state,
                            const Tensor& o) {
  const ScanWalk<Launcher> walk(launcher, chunk.documents, whole(chunk), Toward::end, Leaves::yes);
  ScanRole role = walk.role(chunk.q, chunk.k, chunk.v, head_matrices(o), false, block_matrices(state, 1), {});
  role.leaving = role.own;  // each block of the grid has columns of its own
  launch_scans<kNarrowSlice>(launcher, chunk, math, role);
}

/// As Device::lightning_forward_blocks().
template <typename Launcher>
void simt_lightning_forward_blocks(Launcher& launcher, const LightningChunk& chunk, Math math,
                                   const BlockStates& states, const Tensor& o) {
  const TokenBlocks cut{chunk.q.shape().tokens, states.block};
  const ScanWalk<Launcher> walk(launcher, chunk.documents, cut, Toward::end, Leaves::no);
  launch_scans<kWideSlice>(
      launcher, chunk, math,
      walk.role(chunk.q, chunk.k, chunk.v, head_matrices(o), false, block_matrices(states.own, cut.count()),
                block_matrices(states.incoming, 1)));
}

/// The result of each query head: x itself, or fp32 scratch whose heads are summed to it group by group.
template <typename Launcher>
class HeadSums {
 public:
  HeadSums(Launcher& launcher, const Tensor& x, Index heads)
      : x_(x),
        group_(heads / x.shape().heads),
        scratch_(launcher.template scratch<float>(group_ == 1 ? 0 : group_ * x.shape().size())) {}

  HeadMatrices of_heads() const {
    HeadMatrices result = head_matrices(x_);
    if (group_ == 1) return result;
    result.data = reinterpret_cast<std::byte*>(scratch_.data());
    result.dtype = DType::fp32;
    result.heads *= group_;
    return result;
  }
  void finish(Launcher& launcher) const {
    if (group_ == 1) return;
    with_type(x_.dtype(), [&]<typename T>(T) {
      launch_each(launcher, x_.shape().size(),
                  SumHeads<float, T>{scratch_.data(), x_.view<T>().data, group_, x_.shape().head_size()});
    });
  }

 private:
  const Tensor& x_;
  Index group_;
  typename Launcher::template Array<float> scratch_;
};

/// The states that enter a chunk's blocks on one of the two ways; for a whole chunk, `own` alone.
struct ScanStates {
  TokenBlocks cut;
  BlockMatrices own, incoming;
};

/// All gradients in one launch; `leaving` is R'.
template <typename Launcher>
void launch_gradients(Launcher& launcher, const LightningChunk& chunk, Math math, const Tensor& dout,
                      const ScanStates& s, const ScanStates& r, const BlockMatrices& leaving,
                      const Tensor& dq, const Tensor& dk, const Tensor& dv) {
  const auto& [q, k, v, slopes, documents] = chunk;
  const Leaves leaves = leaving.data != nullptr ? Leaves::yes : Leaves::no;
  const ScanWalk<Launcher> to_end(launcher, documents, s.cut, Toward::end, Leaves::no);
  const ScanWalk<Launcher> to_start(launcher, documents, r.cut, Toward::start, leaves);
  const HeadSums<Launcher> dk_sums(launcher, dk, q.shape().heads), dv_sums(launcher, dv, q.shape().heads);
  ScanRole of_dv = to_start.role(k, q, dout, dv_sums.of_heads(), false, r.own, r.incoming);
  of_dv.leaving = leaving;
  launch_scans<kWideSlice>(launcher, chunk, math,
                           to_end.role(dout, v, k, head_matrices(dq), true, s.own, s.incoming),
                           to_start.role(v, dout, q, dk_sums.of_heads(), true, r.own, r.incoming), of_dv);
  dk_sums.finish(launcher);
  dv_sums.finish(launcher);
}

/// As Device::lightning_backward().
template <typename Launcher>
void simt_lightning_backward(Launcher& launcher, const LightningChunk& chunk, Math math, const Tensor& dout,
                             const Tensor& state, const Tensor& dstate, const Tensor& dq, const Tensor& dk,
                             const Tensor& dv) {
  // R enters dk's and dv's scans, one of which writes R': they read a copy
  const auto entering = launcher.template scratch<float>(dstate.shape().size());
  const BlockMatrices leaving = block_matrices(dstate, 1);
  launch_each(launcher, dstate.shape().size(), Convert<float, float>{leaving.data, entering.data()});
  BlockMatrices own = leaving;
  own.data = entering.data();
  launch_gradients(launcher, chunk, math, dout, {whole(chunk), block_matrices(state, 1), {}},
                   {whole(chunk), own, {}}, leaving, dq, dk, dv);
}

/// As Device::lightning_backward_blocks().
template <typename Launcher>
void simt_lightning_backward_blocks(Launcher& launcher, const LightningChunk& chunk, Math math,
                                    const Tensor& dout, const BlockStates& states, const BlockStates& dstates,
                                    const Tensor& dq, const Tensor& dk, const Tensor& dv) {
  const auto entering = [&](const BlockStates& x) -> ScanStates {
    const TokenBlocks cut{chunk.q.shape().tokens, x.block};
    return {cut, block_matrices(x.own, cut.count()), block_matrices(x.incoming, 1)};
  };
  launch_gradients(launcher, chunk, math, dout, entering(states), entering(dstates), {}, dq, dk, dv);
}

/// As Device::lightning_states().
template <typename Launcher>
void simt_lightning_states(Launcher& launcher, const Tensor& a, const Tensor& b,
                           std::span<const float> slopes, const Documents& documents, Math math,
                           const TokenBlocks& cut, Toward toward, const Tensor& states) {
  std::vector<TokenSpan> spans;
  for (Index i = 0; i < cut.count(); ++i) spans.push_back(documents.reaching(toward, cut.span(i)));
  const auto uploaded_slopes = launcher.upload(slopes);
  const auto uploaded_spans = launcher.template upload<TokenSpan>(spans);
  with_product(math, a.shape().dim, b.shape().dim, [&]<typename Product, int kDim>() {
    using Kernel = LightningStatesKernel<Product, kLightningSizes<Product, kDim, kWideSlice>>;
    static_assert(Kernel::shared_bytes() <= kMostSharedBytes);
    const Kernel kernel{head_matrices(a),       head_matrices(b),      block_matrices(states, cut.count()),
                        uploaded_slopes.data(), uploaded_spans.data(), toward,
                        a.shape().batch};
    launcher.launch(kernel, kernel.blocks(), Kernel::shared_bytes());
  });
}

}  // namespace ringside
