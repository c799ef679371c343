// Lightning attention's passes for policies that sum in memory, on a host.
// One thread does all (kSumsInMemory): dq's, dk's and dv's scans of lightning_body.h are then one, which
// shares do·vᵀ between dq and dk, and k·qᵀ and q's and do's operands.
#pragma once

#include <algorithm>

#include "kernels/decay_table.h"
#include "kernels/lightning_body.h"
#include "kernels/lightning_walk.h"

namespace ringside {

/// The matrices of one (batch, query head). Gradients are fp32; o is in any storage type.
template <typename Memory>
struct LightningHead {
  Memory q, k, v;  ///< [c, d], [c, d], [c, e]
};

/// A new [d, e]: the span's share of a state, Σ_i factors[i - first] a_iᵀ b_i, with a: [c, d] and
/// b: [c, e]. Tiles all of whose factors are 0 (in fp32, after enough decay) add nothing, unless they hold
/// something that is not finite, and are left out.
template <typename Tiles, typename Memory>
typename Tiles::Accumulator lightning_state(Tiles& t, const Memory& a_memory, const Memory& b_memory,
                                            TokenSpan span, const float* factors) {
  const auto state = t.zeros(a_memory.dim, b_memory.dim);
  for (Index first = span.first; first < span.end; first += Tiles::kBlock) {
    const Index count = std::min(Tiles::kBlock, span.end - first);
    const float* const of_tile = factors + (first - span.first);
    const auto step = t.scope();
    const auto b = t.load(b_memory, first, count, Pack::rows);
    const bool vanishes = std::all_of(of_tile, of_tile + count, [](float factor) { return factor == 0; });
    if (vanishes && t.finite(b) && t.finite(t.load(a_memory, first, count, Pack::rows))) continue;
    const auto a = t.load(a_memory, first, count, Pack::both);
    t.scale_add_tn(state, 1, a, t.row_scaled(b, of_tile, count));
  }
  return state;
}

/// The share of dq that comes through the state: dq_i = λ^i do_i Sᵀ; dq: [c, d] fp32, the span's rows
/// overwritten. state: [d, e], S as it enters the span; unchanged.
template <typename Tiles, typename Memory>
void lightning_backward_states(Tiles& t, const DecayTable& decay, const LightningHead<Memory>& head,
                               TokenSpan span, const Memory& dout_memory,
                               const typename Tiles::Accumulator& entering, const Memory& dq_memory) {
  const auto scope = t.scope();
  const auto state = t.transposed(entering);  // [e, d]
  for (Index first = span.first; first < span.end; first += Tiles::kBlock) {
    const Index count = std::min(Tiles::kBlock, span.end - first);
    const auto step = t.scope();
    const auto k = t.load(head.k, first, count, Pack::rows);
    const auto v = t.load(head.v, first, count, Pack::both);
    const auto dout = t.load(dout_memory, first, count, Pack::rows);
    const auto dq = t.accumulator(count, head.q.dim);
    t.multiply_nn(dq, dout, t.operand(state, Pack::rows), Into::overwrite);
    t.row_scale(dq, decay.rows(decay_from_start()));
    t.store(dq, dq_memory, first);

    if (first + count == span.end) break;
    t.scale_add_tn(state, decay.everywhere(decay_across(count)), v,
                   t.row_scaled(k, decay.rows(decay_to_end(count)), count));
  }
}

/// The rest, from the span's last tile to its first: adds to the span's rows of dq: [c, d]; writes, or adds
/// to, those of dk: [c, d] and dv: [c, e], as `into` says; all fp32. dstate: [d, e], R in, R' out if it
/// leaves, else undefined.
template <typename Tiles, typename Memory>
void lightning_backward_span(Tiles& t, const DecayTable& decay, const LightningHead<Memory>& head,
                             const LightningPart& part, const Memory& dout_memory,
                             const typename Tiles::Accumulator& dstate, const Memory& dq_memory,
                             const Memory& dk_memory, const Memory& dv_memory, Into into) {
  const TokenSpan span = part.span;
  const Index tiles = (span.end - span.first + Tiles::kBlock - 1) / Tiles::kBlock;
  for (Index tile = tiles - 1; tile >= 0; --tile) {
    const Index first = span.first + tile * Tiles::kBlock;
    const Index count = std::min(Tiles::kBlock, span.end - first);
    const auto step = t.scope();
    const auto q = t.load(head.q, first, count, Pack::both);
    const auto k = t.load(head.k, first, count, Pack::rows);
    const auto v = t.load(head.v, first, count, Pack::rows);
    const auto dout = t.load(dout_memory, first, count, Pack::both);
    const auto r = t.operand(dstate, Pack::both);
    const float* to_end = decay.rows(decay_to_end(count));
    const auto put = [&](const auto& x, const Memory& memory) {
      if (into == Into::add) {
        t.add(x, memory, first);
      } else {
        t.store(x, memory, first);
      }
    };
    // s and ds are [keys, queries].
    const auto s = t.accumulator(count, count);
    t.multiply_nt(s, k, q, Into::overwrite, Triangle::c_upper);
    t.decay_scores(s, decay, Toward::start);
    const auto dv = t.accumulator(count, head.v.dim);
    t.multiply_nn(dv, k, r, Into::overwrite);
    t.row_scale(dv, to_end);
    t.multiply_nn(dv, t.operand(s, Pack::rows), dout, Into::add, Triangle::a_upper);
    put(dv, dv_memory);

    const auto ds = t.accumulator(count, count);
    t.multiply_nt(ds, v, dout, Into::overwrite, Triangle::c_upper);
    t.decay_scores(ds, decay, Toward::start);
    const auto ds_operand = t.operand(ds, Pack::both);
    const auto dk = t.accumulator(count, head.q.dim);
    t.multiply_nt(dk, v, r, Into::overwrite);
    t.row_scale(dk, to_end);
    t.multiply_nn(dk, ds_operand, q, Into::add, Triangle::a_upper);
    put(dk, dk_memory);
    t.add_multiply_tn(dq_memory, first, ds_operand, k, Triangle::a_lower);

    if (tile == 0 && !part.leaves) break;
    t.scale_add_tn(dstate, decay.everywhere(decay_across(count)), q,
                   t.row_scaled(dout, decay.rows(decay_from_start()), count));
  }
}

/// lightning_backward_states() over each document's part of the span; dq of padding is 0; `state` becomes
/// undefined.
template <typename Tiles, typename Memory>
void lightning_backward_states_documents(Tiles& t, const DecayTable& decay, const LightningHead<Memory>& head,
                                         const Documents& documents, TokenSpan span,
                                         const Memory& dout_memory, const typename Tiles::Accumulator& state,
                                         const Memory& dq_memory) {
  const auto walk = lightning_walk(documents, span, Toward::end, Leaves::no);
  for (const LightningPart& part : walk.parts) {
    if (!part.enters) t.clear(state);
    lightning_backward_states(t, decay, head, part.span, dout_memory, state, dq_memory);
  }
  lightning_clear_rows(t, walk.padding, t.head_dim(), dq_memory);
}

/// The same for lightning_backward_span().
template <typename Tiles, typename Memory>
void lightning_backward_documents(Tiles& t, const DecayTable& decay, const LightningHead<Memory>& head,
                                  const Documents& documents, TokenSpan span, const Memory& dout_memory,
                                  const typename Tiles::Accumulator& dstate, Leaves leaves,
                                  const Memory& dq_memory, const Memory& dk_memory, const Memory& dv_memory,
                                  Into into) {
  const auto walk = lightning_walk(documents, span, Toward::start, leaves);
  for (const LightningPart& part : walk.parts) {
    if (!part.enters) t.clear(dstate);
    lightning_backward_span(t, decay, head, part, dout_memory, dstate, dq_memory, dk_memory, dv_memory, into);
  }
  if (walk.stops) t.clear(dstate);
  if (into == Into::add) return;
  lightning_clear_rows(t, walk.padding, t.head_dim(), dk_memory);
  lightning_clear_rows(t, walk.padding, t.value_dim(), dv_memory);
}

}  // namespace ringside
