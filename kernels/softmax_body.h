// Softmax attention of one (batch, head), written over a tile policy (tile.h).
// FlashAttention-2 (Dao 2023), algorithms 1 and 2.
#pragma once

#include <limits>
#include <span>

#include "kernels/gpu/machine.h"
#include "kernels/mask.h"
#include "kernels/tile.h"

namespace ringside {

/// What both passes need to know of the mask and the logits.
struct SoftmaxRule {
  Mask mask;
  float scale = 1;
};

/// One tile of queries against all keys: rows of o ([nq, e] fp32) and lse ([nq]) are overwritten.
template <typename Tiles, typename Q, typename K, typename V, typename Memory>
RINGSIDE_DEVICE void softmax_forward_tile(Tiles& t, const SoftmaxRule& rule, const TokenTile& q_tile,
                                          std::span<const TokenTile> k_tiles, const Q& q_source,
                                          const K& k_source, const V& v_source, const Memory& o_memory,
                                          float* lse) {
  constexpr float kMasked = -std::numeric_limits<float>::infinity();
  const auto scope = t.scope();
  const auto queries = t.tile(q_tile.positions.count);
  const auto q = t.load(q_source, q_tile.first, queries);
  auto o = t.zeros(queries, t.value_dim());  // Σ_j exp(s_ij - max_i) v_j over the keys so far
  auto max = t.rows(queries, kMasked);
  auto sum = t.rows(queries, 0);         // Σ_j exp(s_ij - max_i)
  auto shift = t.rows(queries, 0);       // max_i; 0 for a row that has seen nothing, as -inf - -inf is NaN
  auto correction = t.rows(queries, 0);  // exp(max before - max)
  auto row = t.rows(queries, 0);         // of one step

  auto keys = t.stream(key_tiles_seen(q_tile, k_tiles, rule.mask), k_source, v_source);
  while (keys.next()) {
    const auto step = t.scope();
    const auto& [k, v] = keys.operands();
    const TokenTile& k_tile = keys.tile();
    const auto of_step = t.step(k_tile.positions.count);
    const auto seen =
        t.keys_seen(queries, q_tile.positions, of_step, k_tile.positions, rule.mask, keys.cover());
    auto s = t.accumulator(queries, of_step);
    t.multiply_nt(s, q, k, Into::overwrite);
    t.scale(s, rule.scale);
    t.mask_keys(s, seen);

    t.row_max(s, row);
    t.for_rows(queries, [&](auto i) {
      const float before = max[i];
      max[i] = before > row[i] ? before : row[i];
      shift[i] = max[i] == kMasked ? 0.0f : max[i];
      correction[i] = t.exp(before - shift[i]);
    });
    t.exp_rows(s, shift);
    t.row_sum(s, row);
    t.for_rows(queries, [&](auto i) { sum[i] = sum[i] * correction[i] + row[i]; });
    t.row_scale(o, correction);
    t.multiply_nn(o, t.operand(s, Pack::rows), v, Into::add);
  }

  t.for_rows(queries, [&](auto i) {
    const bool blind = sum[i] == 0;  // a row that sees a key has a sum of at least 1
    max[i] = blind ? kMasked : max[i] + t.log(sum[i]);
    correction[i] = blind ? 0.0f : 1 / sum[i];
  });
  t.row_scale(o, correction);
  t.store(o, o_memory, q_tile.first);
  t.store_rows(max, queries, lse + q_tile.first);
}

/// The shift of a row's exponents that makes probabilities of its logits: its lse, +inf for rows that see
/// nothing (so that p = 0).
RINGSIDE_DEVICE float probability_shift(float lse) {
  return lse == -std::numeric_limits<float>::infinity() ? -lse : lse;
}

/// One tile of keys against all queries of one query head: adds to dk: [keys, d] and dv: [keys, e], which the
/// caller keeps, and, where the policy's tiles of keys come one after the other (kSumsInMemory), to dq, fp32.
/// shift: [nq], the queries' probability_shift(); delta: [nq].
template <typename Tiles, typename Operand, typename Accumulator, typename Q, typename DO, typename Memory>
RINGSIDE_DEVICE void softmax_backward_keys(Tiles& t, const SoftmaxRule& rule, const TokenTile& k_tile,
                                           std::span<const TokenTile> q_tiles, const Operand& k,
                                           const Operand& v, const Q& q_source, const DO& dout_source,
                                           const float* shift, const float* delta, Accumulator& dk,
                                           Accumulator& dv, const Memory& dq_memory) {
  const auto scope = t.scope();
  const auto keys = t.tile(k_tile.positions.count);
  auto seeing = t.stream(query_tiles_seeing(k_tile, q_tiles, rule.mask), q_source, dout_source);
  while (seeing.next()) {
    const auto step = t.scope();
    const auto& [q, dout] = seeing.operands();
    const TokenTile& q_tile = seeing.tile();
    const auto queries = t.step(q_tile.positions.count);
    const auto sees =
        t.queries_seeing(keys, k_tile.positions, queries, q_tile.positions, rule.mask, seeing.cover());
    // [keys, queries]: the products that sum over queries then need no transposition.
    auto p = t.accumulator(keys, queries);
    t.multiply_nt(p, k, q, Into::overwrite);
    t.exp_columns(p, rule.scale, t.load_columns(shift + q_tile.first, queries));
    t.mask_queries(p, sees);
    auto ds = t.accumulator(keys, queries);
    t.multiply_nt(ds, v, dout, Into::overwrite);
    t.gradient_columns(ds, p, t.load_columns(delta + q_tile.first, queries), rule.scale);

    t.multiply_nn(dv, t.operand(p, Pack::rows), dout, Into::add);
    const auto ds_operand = t.operand(ds, Tiles::kSumsInMemory ? Pack::both : Pack::rows);
    t.multiply_nn(dk, ds_operand, q, Into::add);
    if constexpr (Tiles::kSumsInMemory) t.add_multiply_tn(dq_memory, q_tile.first, ds_operand, k);
  }
}

/// For policies whose tiles of keys run side by side: one tile of queries against all keys; adds to rows of
/// dq ([nq, d] fp32).
template <typename Tiles, typename Q, typename DO, typename K, typename V, typename Memory>
RINGSIDE_DEVICE void softmax_backward_queries(Tiles& t, const SoftmaxRule& rule, const TokenTile& q_tile,
                                              std::span<const TokenTile> k_tiles, const Q& q_source,
                                              const DO& dout_source, const K& k_source, const V& v_source,
                                              const float* shift, const float* delta,
                                              const Memory& dq_memory) {
  const auto scope = t.scope();
  const auto queries = t.tile(q_tile.positions.count);
  const auto q = t.load(q_source, q_tile.first, queries);
  const auto dout = t.load(dout_source, q_tile.first, queries);
  auto dq = t.zeros(queries, t.head_dim());
  const auto row_shift = t.load_rows(shift + q_tile.first, queries);
  const auto row_delta = t.load_rows(delta + q_tile.first, queries);

  auto steps = t.stream(key_tiles_seen(q_tile, k_tiles, rule.mask), k_source, v_source);
  while (steps.next()) {
    const auto step = t.scope();
    const auto& [k, v] = steps.operands();
    const TokenTile& k_tile = steps.tile();
    const auto keys = t.step(k_tile.positions.count);
    const auto seen =
        t.keys_seen(queries, q_tile.positions, keys, k_tile.positions, rule.mask, steps.cover());
    auto p = t.accumulator(queries, keys);
    t.multiply_nt(p, q, k, Into::overwrite);
    t.scale(p, rule.scale);
    t.mask_keys(p, seen);
    t.exp_rows(p, row_shift);
    auto ds = t.accumulator(queries, keys);
    t.multiply_nt(ds, dout, v, Into::overwrite);
    t.gradient_rows(ds, p, row_delta, rule.scale);
    t.multiply_nn(dq, t.operand(ds, Pack::rows), k, Into::add);
  }
  t.add(dq, dq_memory, q_tile.first);
}

}  // namespace ringside
