// Lightning attention on a GPU: one block of threads walks through one block of tokens of one (batch, query
// head), with some columns of the state in its registers.
#pragma once

#include <cstddef>
#include <span>

#include "kernels/gpu/lightning_tiles.h"
#include "kernels/gpu/operand.h"
#include "kernels/lightning_body.h"

namespace ringside {

/// One of the blocks into which a chunk is cut, seen by a state; its walk's parts lie among all blocks'.
struct ScanBlock {
  Index first_part = 0, parts = 0;
  TokenSpan padding;
  bool stops = false;
  bool reached = false;  ///< whether what enters the chunk enters the block
  Index way = 0;         ///< tokens between the two
};

/// States of all heads' blocks, [b, h, blocks, d, e] fp32.
struct BlockMatrices {
  float* data = nullptr;
  Index heads = 0, blocks = 0;
  int head_dim = 0, value_dim = 0;

  /// Columns first.. of the matrix, or of its transpose.
  RINGSIDE_DEVICE StateMemory columns(Index batch, Index head, Index block, bool transposed,
                                      int first) const {
    const Index number = (batch * heads + head) * blocks + block;
    float* const matrix = data + number * head_dim * value_dim;
    if (transposed) return {matrix + static_cast<Index>(first) * value_dim, 1, value_dim};
    return {matrix + first, value_dim, 1};
  }
};

/// One of the scans of lightning_body.h, as the kernel sees it; what it points to lies in the GPU's memory.
struct ScanRole {
  HeadMatrices a, b, c, out;
  Toward toward = Toward::end;
  bool transposed = false;      ///< whether the scan's state is the transpose of that in memory
  BlockMatrices own, incoming;  ///< BlockStates; incoming is none if no block is reached
  BlockMatrices leaving;        ///< none: not wanted
  const ScanBlock* blocks = nullptr;
  const LightningPart* parts = nullptr;
};

/// Which block of tokens, columns and head a block of the grid has. Heads change fastest.
struct ScanPlace {
  unsigned batch, head, slice, block;

  RINGSIDE_DEVICE ScanPlace(Index number_of_grid, Index batches, Index heads, Index slices) {
    auto number = static_cast<unsigned>(number_of_grid);
    const auto take = [&number](Index count) {
      const unsigned taken = number % static_cast<unsigned>(count);
      number /= static_cast<unsigned>(count);
      return taken;
    };
    head = take(heads);
    batch = take(batches);
    slice = take(slices);
    block = number;
  }
};

/// The head of `x` that a query head has, of `heads`.
RINGSIDE_DEVICE HeadRows rows_of(const HeadMatrices& x, const ScanPlace& place, Index heads) {
  const unsigned group = static_cast<unsigned>(heads) / static_cast<unsigned>(x.heads);
  return x.head(place.batch, place.head / group);
}

/// Up to three scans at once. For bf16 and dims of 128 a tile of 64 tokens costs a block of 4 warps, in
/// slices of 32 columns, 144 mma and 88 ldmatrix.x4 a warp: 0.5 µs of an H200's tensor cores (at the 62% that
/// mma.sync gets of them) and 0.8 µs of shared memory's 128 bytes a cycle, which bound it; of 64 columns, 224
/// and 120: 0.8 and 1.1 µs. With two barriers and the latencies between them 1.2 µs a tile are expected, so
/// 150 µs for the forward pass of b = 2, h = 12, n = 8192: 96 blocks, one to a multiprocessor. The backward
/// pass has 144 blocks of 64 columns, so two on some multiprocessors, which bound it: 2.3 µs for two tiles,
/// 300 µs.
template <typename Product, TileSizes kSizes>
struct LightningScanKernel {
  static constexpr int kThreads = 32 * kSizes.warps, kSlice = kSizes.value_dim;
  static constexpr Index kTokens = kSizes.step;
  ScanRole roles[3];
  const float* slopes;  ///< one a head
  Index batches, heads;

  static constexpr Index slices(const ScanRole& role) { return (role.c.dim + kSlice - 1) / kSlice; }
  /// Of the grid for one role.
  constexpr Index blocks(const ScanRole& role) const {
    return batches * heads * slices(role) * role.own.blocks;
  }
  constexpr Index blocks() const { return blocks(roles[0]) + blocks(roles[1]) + blocks(roles[2]); }

  static constexpr std::size_t shared_bytes() {
    const int in_stages = kSizes.stages * kSizes.step * (2 * kSizes.head_dim + kSlice);
    const int scores = Product::kInRegisters ? 0 : kSizes.step * kSizes.step;
    return kDecayBytes +
           sizeof(typename Product::Element) *
               static_cast<std::size_t>(in_stages + (kSizes.head_dim + kSizes.step) * kSlice + scores);
  }

  template <typename Machine>
  RINGSIDE_DEVICE void run() const {
    Index number = Machine::block();
    int of_role = 0;
    while (number >= blocks(roles[of_role])) number -= blocks(roles[of_role++]);
    const ScanRole& role = roles[of_role];
    const ScanPlace place(number, batches, heads, slices(role));
    const ScanBlock& block = role.blocks[place.block];
    const int first = static_cast<int>(place.slice) * kSlice;
    const int columns = role.c.dim - first < kSlice ? role.c.dim - first : kSlice;
    const auto rows = [&](const HeadMatrices& x) { return rows_of(x, place, heads); };

    LightningTiles<Machine, Product, kSizes> t(role.a.dim, columns);
    const float slope = slopes[place.head];
    const auto decay = t.decay(slope);
    auto state = t.load_state(role.own.columns(place.batch, place.head, place.block, role.transposed, first));
    if (block.reached && role.incoming.data != nullptr) {
      t.add_scaled(state, role.incoming.columns(place.batch, place.head, 0, role.transposed, first),
                   power_of_decay(slope, decay_across(block.way).offset));
    }
    const LightningWalk<std::span<const LightningPart>> walk{
        {role.parts + block.first_part, static_cast<std::size_t>(block.parts)}, block.padding, block.stops};
    lightning_scan(t, decay, role.toward, walk, Source<kSizes.head_dim>{rows(role.a)},
                   Source<kSizes.head_dim>{rows(role.b)},
                   Source<kSlice>{rows(role.c).columns(first, columns)}, state,
                   rows(role.out).columns(first, columns));
    if (role.leaving.data != nullptr)
      t.store_state(state, role.leaving.columns(place.batch, place.head, 0, role.transposed, first));
  }

 private:
  static constexpr std::size_t kDecayBytes = LightningTiles<void, Product, kSizes>::kDecayBytes;
};

/// Device::lightning_states(): each block's state, walked to where it leaves.
template <typename Product, TileSizes kSizes>
struct LightningStatesKernel {
  static constexpr int kThreads = 32 * kSizes.warps, kSlice = kSizes.value_dim;
  HeadMatrices a, b;
  BlockMatrices states;
  const float* slopes;     ///< one a head
  const TokenSpan* spans;  ///< one a block: what of it has a share
  Toward toward;
  Index batches;

  constexpr Index slices() const { return (states.value_dim + kSlice - 1) / kSlice; }
  constexpr Index blocks() const { return batches * states.heads * slices() * states.blocks; }
  static constexpr std::size_t shared_bytes() {
    const int in_stages = kSizes.stages * kSizes.step * (kSizes.head_dim + kSlice);
    return kDecayBytes +
           sizeof(typename Product::Element) * static_cast<std::size_t>(in_stages + kSizes.step * kSlice);
  }

  template <typename Machine>
  RINGSIDE_DEVICE void run() const {
    using Tiles = LightningTiles<Machine, Product, kSizes>;
    const ScanPlace place(Machine::block(), batches, states.heads, slices());
    const int first = static_cast<int>(place.slice) * kSlice;
    const int columns = b.dim - first < kSlice ? b.dim - first : kSlice;
    Tiles t(a.dim, columns);
    const CentredPowers decay = t.decay(slopes[place.head]);
    auto state = t.zeros(t.head_dim(), t.value_dim());
    auto tiles = t.stream(SpanTiles(spans[place.block], Tiles::kBlock, toward),
                          Source<kSizes.head_dim>{rows_of(a, place, states.heads)},
                          Source<kSlice>{rows_of(b, place, states.heads).columns(first, columns)});
    while (tiles.next()) {
      const auto step = t.scope();
      const auto& [of_a, of_b] = tiles.operands();
      const Index count = tiles.tile().positions.count;
      const auto at_exit = t.row_scaled(of_b, decay.rows(decay_to_exit(toward, count)), t.step(count));
      t.synchronize();
      t.scale_add_tn(state, decay.everywhere(decay_across(count)), of_a, at_exit);
    }
    t.store_state(state, states.columns(place.batch, place.head, place.block, false, first));
  }

 private:
  static constexpr std::size_t kDecayBytes = LightningTiles<void, Product, kSizes>::kDecayBytes;
};

}  // namespace ringside
