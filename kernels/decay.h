// The exponents of lightning attention's block form, in the one convention that Ringside's kernels use.
#pragma once

#include "reference/view.h"

namespace ringside {

// A chunk of C tokens, i, j = 0..C-1 inside it, λ = exp(-slope). The state S that enters a chunk is decayed
// up to the chunk's first token (LASP's convention, Sun et al. 2024, "Linear Attention Sequence
// Parallelism"):
//   o_i  += λ^i q_i S         S' = λ^C S + Σ_j λ^(C-j) k_jᵀ v_j
//   dq_i += λ^i do_i Sᵀ       R' = λ^C R + Σ_i λ^i q_iᵀ do_i
//   dk_j += λ^(C-j) v_j Rᵀ    dv_j += λ^(C-j) k_j R
// Every exponent is a distance >= 0; whoever needs one takes it from here.

/// Row i of a tensor is multiplied by λ^(offset + step·i).
struct Decay {
  Index offset = 0;
  Index step = 0;
};

/// From the chunk's first token to each: λ^i. For rows of q and do.
constexpr Decay decay_from_start() { return {0, 1}; }
/// From each token to the end of a chunk of `tokens`: λ^(C-j). For rows of k and v.
constexpr Decay decay_to_end(Index tokens) { return {tokens, -1}; }
/// Across a whole chunk of `tokens`: λ^C. For every row of a state.
constexpr Decay decay_across(Index tokens) { return {tokens, 0}; }

}  // namespace ringside
