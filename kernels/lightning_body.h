// Lightning attention of one (batch, head), written over a tile policy (tile.h).
// A span of a chunk's tokens is walked in tiles with the state carried in fp32, a tile's share being summed
// before it is added (so that a sum over n tokens is tile + n/tile roundings deep, not n); every exponent is
// one of decay.h's, with the tile in the place of the chunk. Spans with documents in them are walked part by
// part (lightning_walk.h).
#pragma once

#include "kernels/decay.h"
#include "kernels/gpu/machine.h"
#include "kernels/lightning_part.h"
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

}  // namespace ringside
