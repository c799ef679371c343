// The sizes of the tiles of softmax attention's kernels.
#pragma once

#include "kernels/gpu/tiles.h"

namespace ringside {

/// Sizes of the kernels' tiles for each kind of arithmetic, for dims up to kDim. bf16: the next step's
/// operands come while one is computed; the registers of 8 warps leave room for one block a multiprocessor.
/// Elements of 4 bytes leave no room for the next step. Expected of bf16, forward, dims of 128, on an H200,
/// for a tile and a step: 1,570 cycles of tensor cores (at the 62% that mma.sync gets of them), 2,300 of
/// shared memory, as each warp reads all keys and values for 16 rows: at most 420 TFLOP/s. Warps of 32 rows,
/// with steps of 32, would halve the latter; they need some ten registers more than there are.
template <typename Product, int kDim>
struct SoftmaxSizes {
  static constexpr TileSizes forward = {
      .tile = 64, .step = 64, .head_dim = kDim, .value_dim = kDim, .warps = 4, .stages = 1};
  static constexpr TileSizes backward_keys = {
      .tile = 64, .step = 32, .head_dim = kDim, .value_dim = kDim, .warps = 4, .stages = 1};
  static constexpr TileSizes backward_queries = backward_keys;
};
template <int kDim>
struct SoftmaxSizes<Bf16Product, kDim> {
  static constexpr TileSizes forward = {
      .tile = 128, .step = 64, .head_dim = kDim, .value_dim = kDim, .warps = 8, .stages = 2};
  static constexpr TileSizes backward_keys = {
      .tile = 128, .step = 32, .head_dim = kDim, .value_dim = kDim, .warps = 8, .stages = 2};
  static constexpr TileSizes backward_queries = {
      .tile = 128, .step = 64, .head_dim = kDim, .value_dim = kDim, .warps = 8, .stages = 2};
};

}  // namespace ringside
