// Softmax attention on a GPU: one block computes one tile of queries, or of keys, of one (batch, head).
#pragma once

#include <cstddef>
#include <span>

#include "kernels/gpu/limits.h"
#include "kernels/gpu/operand.h"
#include "kernels/gpu/tiles.h"
#include "kernels/softmax_body.h"

namespace ringside {

/// A block of softmax attention as kernels see it; spans lie in the GPU's memory.
struct SoftmaxWork {
  SoftmaxRule rule;
  std::span<const TokenTile> tiles, steps;  ///< the kernel's own, and those that it walks over
  Index batch = 0;
  HeadMatrices q, k, v;

  /// Query heads of a kv head.
  RINGSIDE_DEVICE int group() const { return static_cast<int>(q.heads / k.heads); }
};

/// Which batch entry, head and tile a block of the grid has: heads change fastest, so that blocks that run
/// side by side have equal work. Tiles with most work come first if the problem is causal: of queries the
/// last, which see most, of keys the first, which most see.
struct BlockPlace {
  int batch, head, tile;

  RINGSIDE_DEVICE BlockPlace(Index block, Index batches, Index heads)
      : batch(static_cast<int>(block % (batches * heads) / heads)),
        head(static_cast<int>(block % heads)),
        tile(static_cast<int>(block / (batches * heads))) {}
  RINGSIDE_DEVICE BlockPlace(Index block, Index batches, Index heads, std::size_t tiles)
      : BlockPlace(block, batches, heads) {
    tile = static_cast<int>(tiles) - 1 - tile;
  }
};

template <typename Product, TileSizes kSizes>
struct SoftmaxForwardKernel {
  static constexpr int kThreads = 32 * kSizes.warps, kTile = kSizes.tile, kStep = kSizes.step;
  static_assert(kTile <= kMaxTile && kStep <= kMaxTile);
  SoftmaxWork work;
  HeadMatrices o;
  float* lse;  ///< [b, h, nq]

  Index blocks() const { return work.batch * work.q.heads * std::ssize(work.tiles); }
  static constexpr std::size_t shared_bytes() {
    const int in_stages = kSizes.stages * kSizes.step * (kSizes.head_dim + kSizes.value_dim);
    const int probabilities = Product::kInRegisters ? 0 : kSizes.tile * kSizes.step;
    return sizeof(typename Product::Element) *
           static_cast<std::size_t>(kSizes.tile * kSizes.head_dim + in_stages + probabilities);
  }

  template <typename Machine>
  RINGSIDE_DEVICE void run() const {
    const BlockPlace place(Machine::block(), work.batch, work.q.heads, work.tiles.size());
    const int kv = place.head / work.group();
    WarpTiles<Machine, Product, kSizes> t(work.q.dim, work.v.dim);
    softmax_forward_tile(t, work.rule, work.tiles[static_cast<std::size_t>(place.tile)], work.steps,
                         Source<kSizes.head_dim>{work.q.head(place.batch, place.head)},
                         Source<kSizes.head_dim>{work.k.head(place.batch, kv)},
                         Source<kSizes.value_dim>{work.v.head(place.batch, kv)},
                         o.head(place.batch, place.head),
                         lse + (place.batch * work.q.heads + place.head) * work.q.tokens);
  }
};

/// What the backward kernels know besides: shift and delta: [b, h, nq].
struct SoftmaxBackwardWork : SoftmaxWork {
  HeadMatrices dout;
  const float* shift;
  const float* delta;

  RINGSIDE_DEVICE Index row(Index b, Index head) const { return (b * q.heads + head) * q.tokens; }
};

/// dk and dv of a tile of keys, from all query heads of its group.
template <typename Product, TileSizes kSizes>
struct SoftmaxBackwardKeysKernel {
  static constexpr int kThreads = 32 * kSizes.warps, kTile = kSizes.tile, kStep = kSizes.step;
  static_assert(kTile <= kMaxTile && kStep <= kMaxTile);
  SoftmaxBackwardWork work;
  HeadMatrices dk, dv;

  Index blocks() const { return work.batch * work.k.heads * std::ssize(work.tiles); }
  static constexpr std::size_t shared_bytes() {
    const int both = kSizes.head_dim + kSizes.value_dim;
    const int scores = Product::kInRegisters ? 0 : 2 * kSizes.tile * kSizes.step;
    return sizeof(typename Product::Element) *
           static_cast<std::size_t>((kSizes.tile + kSizes.stages * kSizes.step) * both + scores);
  }

  template <typename Machine>
  RINGSIDE_DEVICE void run() const {
    const BlockPlace place(Machine::block(), work.batch, work.k.heads);
    const TokenTile& tile = work.tiles[static_cast<std::size_t>(place.tile)];
    WarpTiles<Machine, Product, kSizes> t(work.k.dim, work.v.dim);
    const auto keys = t.tile(tile.positions.count);
    const auto k = t.load(Source<kSizes.head_dim>{work.k.head(place.batch, place.head)}, tile.first, keys);
    const auto v = t.load(Source<kSizes.value_dim>{work.v.head(place.batch, place.head)}, tile.first, keys);
    auto dk_sum = t.zeros(keys, t.head_dim());
    auto dv_sum = t.zeros(keys, t.value_dim());
    for (int h = place.head * work.group(); h < (place.head + 1) * work.group(); ++h) {
      const Index row = work.row(place.batch, h);
      softmax_backward_keys(t, work.rule, tile, work.steps, k, v,
                            Source<kSizes.head_dim>{work.q.head(place.batch, h)},
                            Source<kSizes.value_dim>{work.dout.head(place.batch, h)}, work.shift + row,
                            work.delta + row, dk_sum, dv_sum, HeadRows{});
    }
    t.add(dk_sum, dk.head(place.batch, place.head), tile.first);
    t.add(dv_sum, dv.head(place.batch, place.head), tile.first);
  }
};

/// dq of a tile of queries.
template <typename Product, TileSizes kSizes>
struct SoftmaxBackwardQueriesKernel {
  static constexpr int kThreads = 32 * kSizes.warps, kTile = kSizes.tile, kStep = kSizes.step;
  static_assert(kTile <= kMaxTile && kStep <= kMaxTile);
  SoftmaxBackwardWork work;
  HeadMatrices dq;

  Index blocks() const { return work.batch * work.q.heads * std::ssize(work.tiles); }
  static constexpr std::size_t shared_bytes() {
    const int both = kSizes.head_dim + kSizes.value_dim;
    const int scores = Product::kInRegisters ? 0 : kSizes.tile * kSizes.step;
    return sizeof(typename Product::Element) *
           static_cast<std::size_t>((kSizes.tile + kSizes.stages * kSizes.step) * both + scores);
  }

  template <typename Machine>
  RINGSIDE_DEVICE void run() const {
    const BlockPlace place(Machine::block(), work.batch, work.q.heads, work.tiles.size());
    const int kv = place.head / work.group();
    const Index row = work.row(place.batch, place.head);
    WarpTiles<Machine, Product, kSizes> t(work.q.dim, work.v.dim);
    softmax_backward_queries(t, work.rule, work.tiles[static_cast<std::size_t>(place.tile)], work.steps,
                             Source<kSizes.head_dim>{work.q.head(place.batch, place.head)},
                             Source<kSizes.value_dim>{work.dout.head(place.batch, place.head)},
                             Source<kSizes.head_dim>{work.k.head(place.batch, kv)},
                             Source<kSizes.value_dim>{work.v.head(place.batch, kv)}, work.shift + row,
                             work.delta + row, dq.head(place.batch, place.head));
  }
};

struct ProbabilityShift {
  const float* lse;
  float* shift;
  RINGSIDE_DEVICE void operator()(Index row) const { shift[row] = probability_shift(lse[row]); }
};

}  // namespace ringside
