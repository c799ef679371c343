// Decay exponents of linear attention's block form.
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

/// Where a state is on its way to: S, made of k and v, to the end of the tokens; R, made of q and do, to
/// their start.
enum class Toward { end, start };

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

/// From where a state enters a chunk of `tokens` to each token: for rows that meet the state.
constexpr Decay decay_from_entry(Toward toward, Index tokens) {
  return toward == Toward::end ? decay_from_start() : decay_to_end(tokens);
}
/// From each token to where the state leaves: for rows that the state is made of.
constexpr Decay decay_to_exit(Toward toward, Index tokens) {
  return toward == Toward::end ? decay_to_end(tokens) : decay_from_start();
}

/// Powers in memory: λ^|i| at centre[i], as far as |i| reaches, so that the factors of consecutive rows are
/// consecutive in both directions.
struct CentredPowers {
  const float* centre = nullptr;

  /// Element i is λ^|offset + step·i|; step is 1 or -1.
  constexpr const float* rows(Decay decay) const { return centre + decay.step * decay.offset; }
  /// λ^offset, the factor of every row of a state; step is 0.
  constexpr float everywhere(Decay decay) const { return centre[decay.offset]; }
};

}  // namespace ringside
