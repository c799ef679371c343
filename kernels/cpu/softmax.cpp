// Softmax attention on the CPU: the bodies' tiles over all batches and heads, merge, delta.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/checks.h"
#include "kernels/cpu/cpu_device.h"
#include "kernels/cpu/tiles.h"
#include "kernels/softmax_body.h"
#include "kernels/softmax_checks.h"
#include "kernels/token_tiles.h"
#include "reference/denormals.h"

namespace ringside {
namespace {

constexpr float kMasked = -std::numeric_limits<float>::infinity();

/// One head's values of a row-wise quantity [b, h, n, 1].
float* row_values(const Tensor& x, Index b, Index h) { return x.view<float>().head(b, h); }

}  // namespace

void CpuDevice::softmax_forward(const SoftmaxBlock& block, const Tensor& o, const Tensor& lse) {
  require_softmax_forward(block, o, lse);
  const Shape& qs = block.q.shape();
  const Shape& ks = block.k.shape();
  const Index value_dim = block.v.shape().dim;

  const DenormalMode guard(DenormalMode::flush);
  const auto q_tiles = token_tiles(block.q_positions, CpuTiles::kTile, block.mask.cu_seqlens);
  const auto k_tiles = token_tiles(block.k_positions, CpuTiles::kTile, block.mask.cu_seqlens);
  const SoftmaxRule rule{block.mask, block.scale};
  const Index group = qs.heads / ks.heads;
  CpuTiles tiles(qs.dim, value_dim, options_.math);
  CpuTiles::Packed k(ks.tokens, ks.dim, block.k.dtype(), options_.math, Pack::both);
  CpuTiles::Packed v(ks.tokens, value_dim, block.v.dtype(), options_.math, Pack::rows);
  for (Index b = 0; b < qs.batch; ++b) {
    for (Index h = 0; h < qs.heads; ++h) {
      if (h % group == 0) {
        k.pack(head_memory(block.k, b, h / group), k_tiles);
        v.pack(head_memory(block.v, b, h / group), k_tiles);
      }
      for (const TokenTile& tile : q_tiles) {
        softmax_forward_tile(tiles, rule, tile, k_tiles, Source{head_memory(block.q, b, h)}, k, v,
                             head_memory(o, b, h), row_values(lse, b, h));
      }
    }
  }
}

void CpuDevice::softmax_backward(const SoftmaxBlock& block, const Tensor& dout, const Tensor& lse,
                                 const Tensor& delta, const Tensor& dq, const Tensor& dk_sum,
                                 const Tensor& dv_sum) {
  require_softmax_backward(block, dout, lse, delta, dq, dk_sum, dv_sum);
  const Shape& qs = block.q.shape();
  const Shape& ks = block.k.shape();
  const Index value_dim = block.v.shape().dim;

  const DenormalMode guard(DenormalMode::flush);
  const auto q_tiles = token_tiles(block.q_positions, CpuTiles::kTile, block.mask.cu_seqlens);
  const auto k_tiles = token_tiles(block.k_positions, CpuTiles::kTile, block.mask.cu_seqlens);
  const SoftmaxRule rule{block.mask, block.scale};
  const Index group = qs.heads / ks.heads;
  CpuTiles tiles(qs.dim, value_dim, options_.math);
  CpuTiles::Packed q(qs.tokens, qs.dim, block.q.dtype(), options_.math, Pack::both);
  CpuTiles::Packed k(ks.tokens, ks.dim, block.k.dtype(), options_.math, Pack::rows);
  CpuTiles::Packed v(ks.tokens, value_dim, block.v.dtype(), options_.math, Pack::rows);
  CpuTiles::Packed d_o(qs.tokens, value_dim, dout.dtype(), options_.math, Pack::both);
  std::vector<float> shift(static_cast<std::size_t>(qs.tokens));
  for (Index b = 0; b < qs.batch; ++b) {
    for (Index h = 0; h < qs.heads; ++h) {
      if (h % group == 0) {
        k.pack(head_memory(block.k, b, h / group), k_tiles);
        v.pack(head_memory(block.v, b, h / group), k_tiles);
      }
      q.pack(head_memory(block.q, b, h), q_tiles);
      d_o.pack(head_memory(dout, b, h), q_tiles);
      std::transform(row_values(lse, b, h), row_values(lse, b, h) + qs.tokens, shift.begin(),
                     probability_shift);
      for (const TokenTile& tile : k_tiles) {
        const auto scope = tiles.scope();
        const Index keys = tile.positions.count;
        const auto dk = tiles.zeros(keys, ks.dim), dv = tiles.zeros(keys, value_dim);
        softmax_backward_keys(tiles, rule, tile, q_tiles, tiles.load(k, tile.first, keys),
                              tiles.load(v, tile.first, keys), q, d_o, shift.data(), row_values(delta, b, h),
                              dk, dv, head_memory(dq, b, h));
        tiles.add(dk, head_memory(dk_sum, b, h / group), tile.first);
        tiles.add(dv, head_memory(dv_sum, b, h / group), tile.first);
      }
    }
  }
}

void CpuDevice::softmax_merge(const Tensor& block_o, const Tensor& block_lse, const Tensor& o,
                              const Tensor& lse) {
  const Shape& s = o.shape();
  require_merge(block_o, block_lse, o, lse);

  const DenormalMode guard(DenormalMode::flush);
  const float* lse_b = row_values(block_lse, 0, 0);
  float* lse_a = row_values(lse, 0, 0);
  for (Index row = 0; row < s.rows(); ++row) {
    const float* __restrict b = block_o.view<float>().data + row * s.dim;
    float* __restrict a = o.view<float>().data + row * s.dim;
    // std::max would drop a NaN on its right, and a row of one merged into the identity would vanish
    const float max = std::isnan(lse_b[row]) ? lse_b[row] : std::max(lse_a[row], lse_b[row]);
    if (max == kMasked) {
      std::fill_n(a, s.dim, 0.0f);
      continue;
    }
    const float merged = max + std::log1p(std::exp(std::min(lse_a[row], lse_b[row]) - max));
    const float weight_a = std::exp(lse_a[row] - merged);
    const float weight_b = std::exp(lse_b[row] - merged);
    for (Index i = 0; i < s.dim; ++i) a[i] = a[i] * weight_a + b[i] * weight_b;
    lse_a[row] = merged;
  }
}

void CpuDevice::softmax_delta(const Tensor& o, const Tensor& dout, const Tensor& delta) {
  const Shape& s = o.shape();
  require_delta(o, dout, delta);

  const DenormalMode guard(DenormalMode::flush);
  with_storage(o.data(), o.dtype(), [&](const auto* a) {
    with_storage(dout.data(), dout.dtype(), [&](const auto* b) {
      for (Index row = 0; row < s.rows(); ++row) {
        float sum = 0;
        for (Index i = row * s.dim; i < (row + 1) * s.dim; ++i) sum += to_float(a[i]) * to_float(b[i]);
        delta.view<float>().data[row] = sum;
      }
    });
  });
}

}  // namespace ringside
