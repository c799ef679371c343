// Lightning attention of one (batch, head), written over a tile policy (tile.h).
// A span of a chunk's tokens is walked in tiles with the state carried in fp32, a tile's share being summed
// before it is added (so that a sum over n tokens is tile + n/tile roundings deep, not n); every exponent is
// one of decay.h's, with the tile in the place of the chunk. Spans with documents in them are walked part by
// part (documents.h).
#pragma once

#include <algorithm>

#include "kernels/decay_table.h"
#include "kernels/documents.h"
#include "kernels/tile.h"

namespace ringside {

/// The matrices of one (batch, query head). Gradients are fp32; o is in any storage type.
template <typename Memory>
struct LightningHead {
  Memory q, k, v;  ///< [c, d], [c, d], [c, e]
};

/// Whether the state that leaves a span is wanted.
enum class Leaves { no, yes };

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
    t.synchronize();
    const auto share = t.accumulator(a_memory.dim, b_memory.dim);
    t.multiply_tn(share, a, t.row_scaled(b, of_tile), Into::overwrite);
    t.scale_add(state, 1, share);
    t.synchronize();
  }
  return state;
}

/// o: [c, e], the span's rows overwritten; state: [d, e], S in, S' out if it leaves, else undefined. `decay`
/// reaches a tile's length.
template <typename Tiles, typename Memory>
void lightning_forward_span(Tiles& t, const DecayTable& decay, const LightningHead<Memory>& head,
                            TokenSpan span, const typename Tiles::Accumulator& state, Leaves leaves,
                            const Memory& o_memory) {
  for (Index first = span.first; first < span.end; first += Tiles::kBlock) {
    const Index count = std::min(Tiles::kBlock, span.end - first);
    const auto step = t.scope();
    const auto q = t.load(head.q, first, count, Pack::rows);
    const auto k = t.load(head.k, first, count, Pack::both);
    const auto v = t.load(head.v, first, count, Pack::rows);
    t.synchronize();
    const auto o = t.accumulator(count, head.v.dim);
    t.multiply_nn(o, q, t.operand(state, Pack::rows), Into::overwrite);
    t.row_scale(o, decay.rows(decay_from_start()));
    const auto s = t.accumulator(count, count);
    t.multiply_nt(s, q, k, Into::overwrite, Triangle::c_lower);
    t.decay_keys(s, decay);
    t.multiply_nn(o, t.operand(s, Pack::rows), v, Into::add, Triangle::a_lower);
    t.store(o, o_memory, first);

    if (first + count == span.end && leaves == Leaves::no) break;
    const auto share = t.accumulator(head.q.dim, head.v.dim);
    t.multiply_tn(share, k, t.row_scaled(v, decay.rows(decay_to_end(count))), Into::overwrite);
    t.scale_add(state, decay.everywhere(decay_across(count)), share);
    t.synchronize();
  }
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
    t.synchronize();
    const auto dq = t.accumulator(count, head.q.dim);
    t.multiply_nn(dq, dout, t.operand(state, Pack::rows), Into::overwrite);
    t.row_scale(dq, decay.rows(decay_from_start()));
    t.store(dq, dq_memory, first);

    if (first + count == span.end) break;
    const auto share = t.accumulator(head.v.dim, head.q.dim);
    t.multiply_tn(share, v, t.row_scaled(k, decay.rows(decay_to_end(count))), Into::overwrite);
    t.scale_add(state, decay.everywhere(decay_across(count)), share);
    t.synchronize();
  }
}

/// The rest, from the span's last tile to its first: adds to the span's rows of dq: [c, d]; writes, or adds
/// to, those of dk: [c, d] and dv: [c, e], as `into` says; all fp32. dstate: [d, e], R in, R' out if it
/// leaves, else undefined.
template <typename Tiles, typename Memory>
void lightning_backward_span(Tiles& t, const DecayTable& decay, const LightningHead<Memory>& head,
                             TokenSpan span, const Memory& dout_memory,
                             const typename Tiles::Accumulator& dstate, Leaves leaves,
                             const Memory& dq_memory, const Memory& dk_memory, const Memory& dv_memory,
                             Into into) {
  const Index tiles = (span.end - span.first + Tiles::kBlock - 1) / Tiles::kBlock;
  for (Index tile = tiles - 1; tile >= 0; --tile) {
    const Index first = span.first + tile * Tiles::kBlock;
    const Index count = std::min(Tiles::kBlock, span.end - first);
    const auto step = t.scope();
    const auto q = t.load(head.q, first, count, Pack::both);
    const auto k = t.load(head.k, first, count, Pack::rows);
    const auto v = t.load(head.v, first, count, Pack::rows);
    const auto dout = t.load(dout_memory, first, count, Pack::both);
    t.synchronize();
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
    t.decay_queries(s, decay);
    const auto dv = t.accumulator(count, head.v.dim);
    t.multiply_nn(dv, k, r, Into::overwrite);
    t.row_scale(dv, to_end);
    t.multiply_nn(dv, t.operand(s, Pack::rows), dout, Into::add, Triangle::a_upper);
    put(dv, dv_memory);

    const auto ds = t.accumulator(count, count);
    t.multiply_nt(ds, v, dout, Into::overwrite, Triangle::c_upper);
    t.decay_queries(ds, decay);
    const auto ds_operand = t.operand(ds, Pack::both);
    const auto dk = t.accumulator(count, head.q.dim);
    t.multiply_nt(dk, v, r, Into::overwrite);
    t.row_scale(dk, to_end);
    t.multiply_nn(dk, ds_operand, q, Into::add, Triangle::a_upper);
    put(dk, dk_memory);
    t.add_multiply_tn(dq_memory, first, ds_operand, k, Triangle::a_lower);

    if (tile == 0 && leaves == Leaves::no) break;
    const auto share = t.accumulator(head.q.dim, head.v.dim);
    t.multiply_tn(share, q, t.row_scaled(dout, decay.rows(decay_from_start())), Into::overwrite);
    t.scale_add(dstate, decay.everywhere(decay_across(count)), share);
    t.synchronize();
  }
}

/// The span's rows of `memory` <- 0.
template <typename Tiles, typename Memory>
void lightning_clear_rows(Tiles& t, TokenSpan span, const Memory& memory) {
  for (Index first = span.first; first < span.end; first += Tiles::kBlock) {
    const auto step = t.scope();
    t.store(t.zeros(std::min(Tiles::kBlock, span.end - first), memory.dim), memory, first);
  }
}

/// lightning_forward_span() over each document's part of the span; o of padding is 0.
template <typename Tiles, typename Memory>
void lightning_forward_documents(Tiles& t, const DecayTable& decay, const LightningHead<Memory>& head,
                                 const Documents& documents, TokenSpan span,
                                 const typename Tiles::Accumulator& state, Leaves leaves,
                                 const Memory& o_memory) {
  for (const TokenSpan part : documents.parts(span)) {
    if (documents.begin_at(part.first)) t.clear(state);
    lightning_forward_span(t, decay, head, part, state, part.end == span.end ? leaves : Leaves::no, o_memory);
  }
  const TokenSpan padding = documents.padding(span);
  if (!padding.empty()) t.clear(state);
  lightning_clear_rows(t, padding, o_memory);
}

/// The same for lightning_backward_states(); `state` becomes undefined.
template <typename Tiles, typename Memory>
void lightning_backward_states_documents(Tiles& t, const DecayTable& decay, const LightningHead<Memory>& head,
                                         const Documents& documents, TokenSpan span,
                                         const Memory& dout_memory, const typename Tiles::Accumulator& state,
                                         const Memory& dq_memory) {
  for (const TokenSpan part : documents.parts(span)) {
    if (documents.begin_at(part.first)) t.clear(state);
    lightning_backward_states(t, decay, head, part, dout_memory, state, dq_memory);
  }
  lightning_clear_rows(t, documents.padding(span), dq_memory);
}

/// The same for lightning_backward_span(), from the last part to the first.
template <typename Tiles, typename Memory>
void lightning_backward_documents(Tiles& t, const DecayTable& decay, const LightningHead<Memory>& head,
                                  const Documents& documents, TokenSpan span, const Memory& dout_memory,
                                  const typename Tiles::Accumulator& dstate, Leaves leaves,
                                  const Memory& dq_memory, const Memory& dk_memory, const Memory& dv_memory,
                                  Into into) {
  const auto parts = documents.parts(span);
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
    if (part->end != span.end) t.clear(dstate);  // of the document or the padding behind it
    const bool goes_on = part->first == span.first && !documents.begin_at(part->first);
    lightning_backward_span(t, decay, head, *part, dout_memory, dstate, goes_on ? leaves : Leaves::no,
                            dq_memory, dk_memory, dv_memory, into);
  }
  if (!span.empty() && documents.from_start(span).empty()) t.clear(dstate);
  if (into == Into::add) return;
  lightning_clear_rows(t, documents.padding(span), dk_memory);
  lightning_clear_rows(t, documents.padding(span), dv_memory);
}

}  // namespace ringside
