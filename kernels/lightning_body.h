// Lightning attention of one (batch, head), written over a tile policy (tile.h).
// A span of a chunk's tokens is walked in tiles with the state carried in fp32, a tile's share being summed
// before it is added (so that a sum over n tokens is tile + n/tile roundings deep, not n); every exponent is
// one of decay.h's, with the tile in the place of the chunk. Spans with documents in them are walked part by
// part (lightning_walk.h).
#pragma once

#include <algorithm>

#include "kernels/decay_table.h"
#include "kernels/lightning_walk.h"
#include "kernels/simt/machine.h"
#include "kernels/tile.h"

namespace ringside {

// o, dq, dk and dv are one scan with different a, b and c, made with the state T = Σ λ^… b_yᵀ c_y:
//   out_x = λ^(from T's entry) a_x T + Σ_y λ^|x-y| (a_x·b_y) c_y, y up to x on T's way
//         toward   a   b   c   T
//   o     end      q   k   v   S
//   dq    end      do  v   k   Sᵀ
//   dk    start    v   do  q   Rᵀ
//   dv    start    k   q   do  R

/// One part. a and b: [c, m], c: [c, n], sources of t.head_dim() and t.value_dim() columns, out: [c, n], the
/// part's rows overwritten; state: [m, n], in and, if it leaves, out, else undefined. `decay` reaches a
/// tile's length.
template <typename Tiles, typename Decays, typename A, typename B, typename C, typename State,
          typename Memory>
RINGSIDE_DEVICE void lightning_scan_part(Tiles& t, const Decays& decay, Toward toward,
                                         const LightningPart& part, const A& a_source, const B& b_source,
                                         const C& c_source, State& state, const Memory& out_memory) {
  const auto scope = t.scope();
  const bool to_end = toward == Toward::end;
  auto tiles = t.stream(SpanTiles(part.span, Tiles::kBlock, toward), a_source, b_source, c_source);
  while (tiles.next()) {
    const auto step = t.scope();
    const auto& [a, b, c] = tiles.operands();
    const Index first = tiles.tile().first, count = tiles.tile().positions.count;
    const auto tokens = t.step(count);
    const auto entering = t.shared(state);
    const auto c_at_exit = t.row_scaled(c, decay.rows(decay_to_exit(toward, count)), tokens);
    t.synchronize();
    auto out = t.accumulator(tokens, t.value_dim());
    t.multiply_nn(out, a, entering, Into::overwrite);
    t.row_scale(out, t.load_rows(decay.rows(decay_from_entry(toward, count)), tokens));
    auto s = t.accumulator(tokens, tokens);
    t.multiply_nt(s, a, b, Into::overwrite, to_end ? Triangle::c_lower : Triangle::c_upper);
    t.decay_scores(s, decay, toward);
    t.multiply_nn(out, t.operand(s, Pack::rows), c, Into::add,
                  to_end ? Triangle::a_lower : Triangle::a_upper);
    t.store(out, out_memory, first);

    const bool last = to_end ? first + count == part.span.end : first == part.span.first;
    if (last && !part.leaves) continue;  // the stream ends by itself, when all are through
    t.scale_add_tn(state, decay.everywhere(decay_across(count)), b, c_at_exit);
  }
}

/// The span's rows of `memory`, of so many columns, <- 0.
template <typename Tiles, typename Columns, typename Memory>
RINGSIDE_DEVICE void lightning_clear_rows(Tiles& t, TokenSpan span, const Columns& columns,
                                          const Memory& memory) {
  for (Index first = span.first; first < span.end; first += Tiles::kBlock) {
    const auto scope = t.scope();
    const Index left = span.end - first;
    auto zeros = t.zeros(t.step(left < Tiles::kBlock ? left : Tiles::kBlock), columns);
    t.store(zeros, memory, first);
  }
}

/// All parts of a walk; out of padding is 0.
template <typename Tiles, typename Decays, typename Parts, typename A, typename B, typename C, typename State,
          typename Memory>
RINGSIDE_DEVICE void lightning_scan(Tiles& t, const Decays& decay, Toward toward,
                                    const LightningWalk<Parts>& walk, const A& a, const B& b, const C& c,
                                    State& state, const Memory& out) {
  for (const LightningPart& part : walk.parts) {
    if (!part.enters) t.clear(state);
    lightning_scan_part(t, decay, toward, part, a, b, c, state, out);
  }
  lightning_clear_rows(t, walk.padding, t.value_dim(), out);
  if (walk.stops) t.clear(state);
}

// What follows is for policies that sum in memory (kSumsInMemory), one thread doing all: dq's, dk's and dv's
// scans are then one, which shares do·vᵀ between dq and dk, and k·qᵀ and q's and do's operands.

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
