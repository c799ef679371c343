// The truth about lightning attention, forward and backward, by two independent formulae: of each document by
// itself, as if there were no other. Padding has value 0 and error 0.
#pragma once

#include "reference/dtype.h"
#include "reference/problem.h"
#include "reference/truth.h"

namespace ringside {

/// o = (q kᵀ ∘ M) v with M_ij = λ^(i-j) for j <= i, and its gradients, as blocked matrix products in fp64
/// (Qin et al. 2024, "Lightning Attention-2", equation 2): O(b·h·n²·(d + e)).
Truth lightning_quadratic(const Problem& problem, const Operands& operands, int threads,
                          const Arithmetic& arithmetic = {});

/// S_t = λ S_{t-1} + k_tᵀ v_t, o_t = q_t S_t, and the reverse recurrence for the gradients, token by token in
/// fp64 (Katharopoulos et al. 2020, "Transformers are RNNs", section 3.4, with decay): O(b·h·n·d·e).
Truth lightning_recurrent(const Problem& problem, const Operands& operands, int threads,
                          const Arithmetic& arithmetic = {});

/// The cheaper of the two, after both have been compared over the first tokens of the longest document of the
/// first (batch, kv head): throws std::logic_error if they differ, for an oracle that contradicts itself must
/// not judge. Falls back on direct_lightning() if an operand is not finite. `threads` share the (batch, kv
/// head) pairs; the result does not depend on their number. Throws std::invalid_argument if the operands do
/// not have the problem's shapes.
Truth lightning_oracle(const Problem& problem, const Operands& operands, int threads,
                       const Arithmetic& arithmetic = {});

}  // namespace ringside
