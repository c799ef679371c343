// Host half of fused linear attention with decay. Arguments are checked, dims up to kMaxDim.
#pragma once

#include <algorithm>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernels/checks.h"
#include "kernels/gpu/dispatch.h"
#include "kernels/gpu/elementwise.h"
#include "kernels/gpu/lightning_kernels.h"
#include "kernels/gpu/matrices.h"
#include "kernels/lightning_walk.h"

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

/// The states that enter a chunk's blocks on one of the two ways; for a whole chunk, `own` alone.
struct ScanStates {
  TokenBlocks cut;
  BlockMatrices own, incoming;
};

inline ScanStates scan_states(const LightningChunk& chunk, const BlockStates& states) {
  const TokenBlocks cut{chunk.q.shape().tokens, states.block};
  return {cut, block_matrices(states.own, cut.count()), block_matrices(states.incoming, 1)};
}
/// The chunk as one block.
inline ScanStates scan_states(const LightningChunk& chunk, const BlockMatrices& state) {
  const Index tokens = chunk.q.shape().tokens;
  return {{tokens, std::max<Index>(1, tokens)}, state, {}};
}

/// How a state walks through the blocks of a chunk, in the machine's memory.
template <typename Launcher>
class ScanWalk {
 public:
  ScanWalk(Launcher& launcher, const Documents& documents, const TokenBlocks& cut, Toward toward,
           Leaves leaves)
      : ScanWalk(launcher, Host(documents, cut, toward, leaves), toward) {}

  /// The scan of a, b and c to out from the states that enter.
  ScanRole role(const HeadMatrices& a, const HeadMatrices& b, const HeadMatrices& c, const HeadMatrices& out,
                bool transposed, const ScanStates& states) const {
    return {.a = a,
            .b = b,
            .c = c,
            .out = out,
            .toward = toward_,
            .transposed = transposed,
            .own = states.own,
            .incoming = states.incoming,
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
  decltype(std::declval<Launcher&>().upload(std::span<const LightningPart>())) parts_;
  decltype(std::declval<Launcher&>().upload(std::span<const ScanBlock>())) blocks_;
};

/// The chunk's operands as kernels read them.
template <typename Product, typename Launcher>
struct PreparedChunk {
  using Matrices = OperandMatrices<typename Product::Element, Launcher>;

  PreparedChunk(Launcher& launcher, const LightningChunk& chunk)
      : q_(launcher, chunk.q),
        k_(launcher, chunk.k),
        v_(launcher, chunk.v),
        q(q_.matrices()),
        k(k_.matrices()),
        v(v_.matrices()) {}

 private:
  Matrices q_, k_, v_;

 public:
  HeadMatrices q, k, v;
};

/// Up to three scans in one launch.
template <typename Product, int kDim, int kSlice, typename Launcher>
void launch_scans(Launcher& launcher, const LightningChunk& chunk, const ScanRole& first,
                  const ScanRole& second = {}, const ScanRole& third = {}) {
  using Kernel = LightningScanKernel<Product, kLightningSizes<Product, kDim, kSlice>>;
  static_assert(Kernel::shared_bytes() <= kMostSharedBytes);
  const auto slopes = launcher.upload(chunk.slopes);
  const Shape& q = chunk.q.shape();
  const Kernel kernel{{first, second, third}, slopes.data(), q.batch, q.heads};
  launcher.launch(kernel, kernel.blocks(), Kernel::shared_bytes());
}

/// o; `leaving` is S', if it is wanted.
template <int kSlice, typename Launcher>
void launch_forward(Launcher& launcher, const LightningChunk& chunk, Math math, const ScanStates& s,
                    const BlockMatrices& leaving, const Tensor& o) {
  const Leaves leaves = leaving.data != nullptr ? Leaves::yes : Leaves::no;
  const ScanWalk<Launcher> to_end(launcher, chunk.documents, s.cut, Toward::end, leaves);
  with_product(math, chunk.q.shape().dim, chunk.v.shape().dim, [&]<typename Product, int kDim>() {
    const PreparedChunk<Product, Launcher> x(launcher, chunk);
    ScanRole role = to_end.role(x.q, x.k, x.v, head_matrices(o), false, s);
    role.leaving = leaving;
    launch_scans<Product, kDim, kSlice>(launcher, chunk, role);
  });
}

/// As Device::lightning_forward().
template <typename Launcher>
void gpu_lightning_forward(Launcher& launcher, const LightningChunk& chunk, Math math, const Tensor& state,
                           const Tensor& o) {
  // each block of the grid reads and writes columns of its own
  const BlockMatrices matrices = block_matrices(state, 1);
  launch_forward<kNarrowSlice>(launcher, chunk, math, scan_states(chunk, matrices), matrices, o);
}

/// As Device::lightning_forward_blocks().
template <typename Launcher>
void gpu_lightning_forward_blocks(Launcher& launcher, const LightningChunk& chunk, Math math,
                                  const BlockStates& states, const Tensor& o) {
  launch_forward<kWideSlice>(launcher, chunk, math, scan_states(chunk, states), {}, o);
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
  decltype(std::declval<Launcher&>().template scratch<float>(0)) scratch_;
};

/// All gradients in one launch; `leaving` is R', if it is wanted.
template <typename Launcher>
void launch_gradients(Launcher& launcher, const LightningChunk& chunk, Math math, const Tensor& dout,
                      const ScanStates& s, const ScanStates& r, const BlockMatrices& leaving,
                      const Tensor& dq, const Tensor& dk, const Tensor& dv) {
  const Shape& q = chunk.q.shape();
  const Leaves leaves = leaving.data != nullptr ? Leaves::yes : Leaves::no;
  const ScanWalk<Launcher> to_end(launcher, chunk.documents, s.cut, Toward::end, Leaves::no);
  const ScanWalk<Launcher> to_start(launcher, chunk.documents, r.cut, Toward::start, leaves);
  const HeadSums<Launcher> dk_sums(launcher, dk, q.heads), dv_sums(launcher, dv, q.heads);
  with_product(math, q.dim, chunk.v.shape().dim, [&]<typename Product, int kDim>() {
    const PreparedChunk<Product, Launcher> x(launcher, chunk);
    const OperandMatrices<typename Product::Element, Launcher> dout_operands(launcher, dout);
    const HeadMatrices& from = dout_operands.matrices();
    ScanRole of_dv = to_start.role(x.k, x.q, from, dv_sums.of_heads(), false, r);
    of_dv.leaving = leaving;
    launch_scans<Product, kDim, kWideSlice>(
        launcher, chunk, to_end.role(from, x.v, x.k, head_matrices(dq), true, s),
        to_start.role(x.v, from, x.q, dk_sums.of_heads(), true, r), of_dv);
  });
  dk_sums.finish(launcher);
  dv_sums.finish(launcher);
}

/// As Device::lightning_backward().
template <typename Launcher>
void gpu_lightning_backward(Launcher& launcher, const LightningChunk& chunk, Math math, const Tensor& dout,
                            const Tensor& state, const Tensor& dstate, const Tensor& dq, const Tensor& dk,
                            const Tensor& dv) {
  // R enters dk's and dv's scans, one of which writes R': they read a copy
  const auto copy = launcher.template scratch<float>(dstate.shape().size());
  const BlockMatrices leaving = block_matrices(dstate, 1);
  launch_each(launcher, dstate.shape().size(), Convert<float, float>{leaving.data, copy.data()});
  BlockMatrices entering = leaving;
  entering.data = copy.data();
  launch_gradients(launcher, chunk, math, dout, scan_states(chunk, block_matrices(state, 1)),
                   scan_states(chunk, entering), leaving, dq, dk, dv);
}

/// As Device::lightning_backward_blocks().
template <typename Launcher>
void gpu_lightning_backward_blocks(Launcher& launcher, const LightningChunk& chunk, Math math,
                                   const Tensor& dout, const BlockStates& states, const BlockStates& dstates,
                                   const Tensor& dq, const Tensor& dk, const Tensor& dv) {
  launch_gradients(launcher, chunk, math, dout, scan_states(chunk, states), scan_states(chunk, dstates), {},
                   dq, dk, dv);
}

/// As Device::lightning_states().
template <typename Launcher>
void gpu_lightning_states(Launcher& launcher, const Tensor& a, const Tensor& b, std::span<const float> slopes,
                          const Documents& documents, Math math, const TokenBlocks& cut, Toward toward,
                          const Tensor& states) {
  std::vector<TokenSpan> spans;
  for (Index i = 0; i < cut.count(); ++i) spans.push_back(documents.reaching(toward, cut.span(i)));
  const auto uploaded_slopes = launcher.upload(slopes);
  const auto uploaded_spans = launcher.template upload<TokenSpan>(spans);
  with_product(math, a.shape().dim, b.shape().dim, [&]<typename Product, int kDim>() {
    using Kernel = LightningStatesKernel<Product, kLightningSizes<Product, kDim, kWideSlice>>;
    static_assert(Kernel::shared_bytes() <= kMostSharedBytes);
    const OperandMatrices<typename Product::Element, Launcher> of_a(launcher, a), of_b(launcher, b);
    const Kernel kernel{of_a.matrices(),        of_b.matrices(),       block_matrices(states, cut.count()),
                        uploaded_slopes.data(), uploaded_spans.data(), toward,
                        a.shape().batch};
    launcher.launch(kernel, kernel.blocks(), Kernel::shared_bytes());
  });
}

}  // namespace ringside
