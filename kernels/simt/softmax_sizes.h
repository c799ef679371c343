// The sizes of the tiles of softmax attention's kernels.
#pragma once

#include "kernels/simt/tiles.h"

namespace ringside {

/// Sizes of the kernels' tiles for each kind of arithmetic, for dims up to kDim. bf16: two blocks fit a
/// multiprocessor, the next step's operands come while one is computed. Elements of 4 bytes leave no room for
/// that.
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
