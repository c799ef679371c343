// The truth about softmax attention, forward and backward.
#pragma once

#include "reference/dtype.h"
#include "reference/problem.h"
#include "reference/truth.h"

namespace ringside {

/// Softmax attention in fp64 as blocked matrix products (formulae: Dao 2023, "FlashAttention-2", section 2.3,
/// without its tiling over keys), with the error model of error_model.h. O(b·h·rows·n·(d + e)) work for the
/// rows of `operands`; `threads` share the (batch, kv head) pairs, and the result does not depend on their
/// number. `arithmetic` is the subject's: the bound depends on it, the value does not. Falls back on
/// direct_softmax() if an operand is not finite. Throws std::invalid_argument if the operands do not have the
/// problem's shapes.
Truth softmax_oracle(const Problem& problem, const Operands& operands, int threads,
                     const Arithmetic& arithmetic = {});

}  // namespace ringside
