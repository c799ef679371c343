// Both operators as plain loops over pairs of tokens: slow, and independent of the matrix forms.
#pragma once

#include "reference/dtype.h"
#include "reference/problem.h"
#include "reference/truth.h"

namespace ringside {

// Only the rows that see a NaN or an infinity become non-finite, which a product with a masked matrix (0·NaN)
// does not give; rows that stay finite have finite bounds. Threads, results and errors as in the oracles.

// What the mask leaves is oracle_common.h's, as in the oracles; harness/recompute_dump.py has masks of its
// own.

/// Softmax attention, O(b·h·n²·(d + e)) scalar operations.
Truth direct_softmax(const Problem& problem, const Operands& operands, int threads,
                     const Arithmetic& arithmetic = {});

/// Lightning attention, O(b·h·n²·(d + e)) scalar operations.
Truth direct_lightning(const Problem& problem, const Operands& operands, int threads,
                       const Arithmetic& arithmetic = {});

}  // namespace ringside
