// Bounds for softmax attention whose partial results are rounded.
#pragma once

#include <vector>

#include "reference/dtype.h"
#include "reference/positions.h"
#include "reference/problem.h"
#include "reference/truth.h"

namespace ringside {

/// The tokens of each block whose results are rounded by themselves; together every token once.
using Pieces = std::vector<Positions>;

/// Sets Expected::partials of a truth, all finite, that softmax_oracle() gave for these operands. A ring
/// whose blocks come from a kernel with outputs of 16 bits rounds each block's o, dq, dk and dv to `partials`
/// before it merges or sums them in fp32; its blocks are of one of the pieces, or of several together, and dk
/// and dv of grouped heads are rounded for each query head and again when those are added. An element that is
/// one piece, rounded to what it is stored in, is rounded once: nothing is added. Elsewhere, with x_p for
/// what piece p of the keys (o, dq) or of the queries (dk, dv) adds to it,
///   o: Σ_p |x_p|        D_i = Σ|do|·that, which Δ_i errs by
///   dv: Σ_p |x_p|       dq: Σ_p |x_p| + |scale|·Σ_j P_ij D_i |k_j|       dk: likewise, with |q_i|
/// each in units of partials' unit roundoff, with |x_p| at least its smallest normal number. O(b·h·rows·n·(d
/// + e)) work that `threads` share. Throws std::invalid_argument for another operator.
void add_partials(const Problem& problem, const Operands& operands, int threads, DType storage,
                  DType partials, const Pieces& pieces, Truth& truth);

}  // namespace ringside
