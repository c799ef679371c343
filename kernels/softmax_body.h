// Softmax attention of one (batch, head), written over a tile policy (tile.h).
// FlashAttention-2 (Dao 2023), algorithms 1 and 2.
#pragma once

#include <cmath>
#include <limits>
#include <span>

#include "kernels/exp.h"
#include "kernels/mask.h"
#include "kernels/tile.h"

namespace ringside {

/// What both passes need to know of the mask and the logits.
struct SoftmaxRule {
  Mask mask;
  float scale = 1;
};

/// One tile of queries against all keys: rows of o ([nq, e] fp32) and lse ([nq]) are overwritten.
template <typename Tiles, typename Memory>
void softmax_forward_tile(Tiles& t, const SoftmaxRule& rule, const TokenTile& q_tile,
                          std::span<const TokenTile> k_tiles, const Memory& q_memory,
                          const typename Tiles::Packed& k_packed, const typename Tiles::Packed& v_packed,
                          const Memory& o_memory, float* lse) {
  constexpr float kMasked = -std::numeric_limits<float>::infinity();
  const auto scope = t.scope();
  const Index queries = q_tile.positions.count;
  const auto q = t.load(q_memory, q_tile.first, queries, Pack::rows);
  const auto o = t.zeros(queries, v_packed.dim());  // Σ_j exp(s_ij - max_i) v_j over the keys so far
  float* const max = t.rows(queries, kMasked);
  float* const sum = t.rows(queries, 0);    // Σ_j exp(s_ij - max_i)
  float* const shift = t.rows(queries, 0);  // max_i; 0 for a row that has seen nothing, as -inf - -inf is NaN
  float* const correction = t.rows(queries, 0);  // exp(max before - max)
  float* const of_tile = t.rows(queries, 0);

  for (const auto& [k_tile, seen] : key_tiles_seen(q_tile, k_tiles, rule.mask)) {
    const auto step = t.scope();
    const auto k = t.load(k_packed, k_tile);
    const auto v = t.load(v_packed, k_tile);
    t.synchronize();
    const auto s = t.accumulator(queries, k_tile.positions.count);
    t.multiply_nt(s, q, k, Into::overwrite);
    t.scale(s, rule.scale);
    if (seen == Cover::partial) t.mask_keys(s, q_tile.positions, k_tile.positions, rule.mask);

    t.row_max(s, of_tile);
    t.for_rows(queries, [&](Index i) {
      const float before = max[i];
      max[i] = before > of_tile[i] ? before : of_tile[i];
      shift[i] = max[i] == kMasked ? 0.0f : max[i];
      correction[i] = exp_fp32(before - shift[i]);
    });
    t.exp_rows(s, shift);
    t.row_sum(s, of_tile);
    t.for_rows(queries, [&](Index i) { sum[i] = sum[i] * correction[i] + of_tile[i]; });
    t.row_scale(o, correction);
    t.multiply_nn(o, t.operand(s, Pack::rows), v, Into::add);
    t.synchronize();
  }

  t.for_rows(queries, [&](Index i) {
    const bool blind = sum[i] == 0;  // a row that sees a key has a sum of at least 1
    lse[q_tile.first + i] = blind ? kMasked : max[i] + std::log(sum[i]);
    correction[i] = blind ? 0.0f : 1 / sum[i];
  });
  t.row_scale(o, correction);
  t.store(o, o_memory, q_tile.first);
}

/// One tile of keys against all queries of one query head: adds to rows of dk, dv and to dq, all fp32.
/// shift: [nq], the queries' global lse, +inf for rows that see nothing (so that p = 0); delta: [nq].
template <typename Tiles, typename Memory>
void softmax_backward_tile(Tiles& t, const SoftmaxRule& rule, const TokenTile& k_tile,
                           std::span<const TokenTile> q_tiles, const typename Tiles::Packed& q_packed,
                           const typename Tiles::Packed& k_packed, const typename Tiles::Packed& v_packed,
                           const typename Tiles::Packed& dout_packed, const float* shift, const float* delta,
                           const Memory& dq_memory, const Memory& dk_memory, const Memory& dv_memory) {
  const auto scope = t.scope();
  const Index keys = k_tile.positions.count;
  const auto k = t.load(k_packed, k_tile);
  const auto v = t.load(v_packed, k_tile);
  const auto dk = t.zeros(keys, k_packed.dim());
  const auto dv = t.zeros(keys, v_packed.dim());

  for (const auto& [q_tile, seen] : query_tiles_seeing(k_tile, q_tiles, rule.mask)) {
    const auto step = t.scope();
    const auto q = t.load(q_packed, q_tile);
    const auto dout = t.load(dout_packed, q_tile);
    t.synchronize();
    // [keys, queries]: two of the three products below then need no transposition.
    const auto p = t.accumulator(keys, q_tile.positions.count);
    t.multiply_nt(p, k, q, Into::overwrite);
    t.exp_columns(p, rule.scale, shift + q_tile.first);
    if (seen == Cover::partial) t.mask_queries(p, k_tile.positions, q_tile.positions, rule.mask);
    const auto ds = t.accumulator(keys, q_tile.positions.count);
    t.multiply_nt(ds, v, dout, Into::overwrite);
    t.softmax_gradient(ds, p, delta + q_tile.first, rule.scale);

    const auto ds_operand = t.operand(ds, Pack::both);
    t.multiply_nn(dv, t.operand(p, Pack::rows), dout, Into::add);
    t.multiply_nn(dk, ds_operand, q, Into::add);
    t.add_multiply_tn(dq_memory, q_tile.first, ds_operand, k);
    t.synchronize();
  }

  t.add(dk, dk_memory, k_tile.first);
  t.add(dv, dv_memory, k_tile.first);
}

}  // namespace ringside
