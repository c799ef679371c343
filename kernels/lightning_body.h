// Lightning attention of one (batch, head), written over a tile policy (tile.h).
// The chunk is walked in blocks with the state carried in fp32; every exponent is one of decay.h's, with the
// block in the place of the chunk.
#pragma once

#include <algorithm>

#include "kernels/decay_table.h"
#include "kernels/tile.h"

namespace ringside {

/// The matrices of one (batch, query head). Gradients are fp32; o is in any storage type.
template <typename Memory>
struct LightningHead {
  Memory q, k, v;  ///< [c, d], [c, d], [c, e]
};

/// o: [c, e], overwritten; state: [d, e] fp32, S in, S' out. `decay` reaches a block's length.
template <typename Tiles, typename Memory>
void lightning_forward_head(Tiles& t, const DecayTable& decay, const LightningHead<Memory>& head,
                            const Memory& state_memory, const Memory& o_memory) {
  const auto scope = t.scope();
  const auto state = t.load_state(state_memory);
  for (Index first = 0; first < head.q.tokens; first += Tiles::kBlock) {
    const Index count = std::min(Tiles::kBlock, head.q.tokens - first);
    const auto block = t.scope();
    const auto q = t.load(head.q, first, count, Pack::rows);
    const auto k = t.load(head.k, first, count, Pack::both);
    const auto v = t.load(head.v, first, count, Pack::rows);
    t.synchronize();
    const auto o = t.accumulator(count, head.v.dim);
    t.multiply_nn(o, q, t.operand(state, Pack::rows), Into::overwrite);
    t.row_scale(o, decay.rows(decay_from_start()));
    const auto s = t.accumulator(count, count);
    t.multiply_nt(s, q, k, Into::overwrite);
    t.decay_keys(s, decay);
    t.multiply_nn(o, t.operand(s, Pack::rows), v, Into::add);
    t.store(o, o_memory, first);

    t.scale(state, decay.everywhere(decay_across(count)));
    t.multiply_tn(state, k, t.row_scaled(v, decay.rows(decay_to_end(count))), Into::add);
    t.synchronize();
  }
  t.store(state, state_memory, 0);
}

/// The share of dq that comes through the state: dq_i = λ^i do_i Sᵀ; dq: [c, d] fp32, overwritten.
/// state: [d, e] fp32, S as it entered the chunk.
template <typename Tiles, typename Memory>
void lightning_backward_states(Tiles& t, const DecayTable& decay, const LightningHead<Memory>& head,
                               const Memory& dout_memory, const Memory& state_memory,
                               const Memory& dq_memory) {
  const auto scope = t.scope();
  const auto state = t.load_state_transposed(state_memory);  // [e, d]
  for (Index first = 0; first < head.q.tokens; first += Tiles::kBlock) {
    const Index count = std::min(Tiles::kBlock, head.q.tokens - first);
    const auto block = t.scope();
    const auto k = t.load(head.k, first, count, Pack::rows);
    const auto v = t.load(head.v, first, count, Pack::both);
    const auto dout = t.load(dout_memory, first, count, Pack::rows);
    t.synchronize();
    const auto dq = t.accumulator(count, head.q.dim);
    t.multiply_nn(dq, dout, t.operand(state, Pack::rows), Into::overwrite);
    t.row_scale(dq, decay.rows(decay_from_start()));
    t.store(dq, dq_memory, first);

    t.scale(state, decay.everywhere(decay_across(count)));
    t.multiply_tn(state, v, t.row_scaled(k, decay.rows(decay_to_end(count))), Into::add);
    t.synchronize();
  }
}

/// The rest, from the last block to the first: adds to dq: [c, d], dk: [c, d], dv: [c, e], all fp32.
/// dstate: [d, e] fp32, R in, R' out.
template <typename Tiles, typename Memory>
void lightning_backward_head(Tiles& t, const DecayTable& decay, const LightningHead<Memory>& head,
                             const Memory& dout_memory, const Memory& dstate_memory, const Memory& dq_memory,
                             const Memory& dk_memory, const Memory& dv_memory) {
  const auto scope = t.scope();
  const auto dstate = t.load_state(dstate_memory);
  const Index blocks = (head.q.tokens + Tiles::kBlock - 1) / Tiles::kBlock;
  for (Index first = (blocks - 1) * Tiles::kBlock; first >= 0; first -= Tiles::kBlock) {
    const Index count = std::min(Tiles::kBlock, head.q.tokens - first);
    const auto block = t.scope();
    const auto q = t.load(head.q, first, count, Pack::both);
    const auto k = t.load(head.k, first, count, Pack::rows);
    const auto v = t.load(head.v, first, count, Pack::rows);
    const auto dout = t.load(dout_memory, first, count, Pack::both);
    t.synchronize();
    const auto r = t.operand(dstate, Pack::both);
    const float* to_end = decay.rows(decay_to_end(count));
    // s and ds are [keys, queries].
    const auto s = t.accumulator(count, count);
    t.multiply_nt(s, k, q, Into::overwrite);
    t.decay_queries(s, decay);
    const auto dv = t.accumulator(count, head.v.dim);
    t.multiply_nn(dv, k, r, Into::overwrite);
    t.row_scale(dv, to_end);
    t.multiply_nn(dv, t.operand(s, Pack::rows), dout, Into::add);
    t.add(dv, dv_memory, first);

    const auto ds = t.accumulator(count, count);
    t.multiply_nt(ds, v, dout, Into::overwrite);
    t.decay_queries(ds, decay);
    const auto ds_operand = t.operand(ds, Pack::both);
    const auto dk = t.accumulator(count, head.q.dim);
    t.multiply_nt(dk, v, r, Into::overwrite);
    t.row_scale(dk, to_end);
    t.multiply_nn(dk, ds_operand, q, Into::add);
    t.add(dk, dk_memory, first);
    t.add_multiply_tn(dq_memory, first, ds_operand, k);

    t.scale(dstate, decay.everywhere(decay_across(count)));
    t.multiply_tn(dstate, q, t.row_scaled(dout, decay.rows(decay_from_start())), Into::add);
    t.synchronize();
  }
  t.store(dstate, dstate_memory, 0);
}

}  // namespace ringside
