// Error bounds of attention, first order in the unit roundoff.
//
// Everything here is in units of u, the unit roundoff of the subject's accumulator. Rounding errors are taken
// as independent random variables of mean zero. Then a product of n factors (1 + δ), |δ| <= u, is 1 + θ with
// |θ| <= λ·√n·u + O(u²) with probability >= 1 - 2·exp(-λ²/2) (Higham and Mary 2019, "A new approach to
// probabilistic rounding error analysis", SIAM J. Sci. Comput. 41(5), theorem 2.4); λ = 9 gives 1 - 5e-18. In
// a sum of n rounded terms, in whatever order, each term passes through at most n roundings, so |error| <=
// λ·√n·u·Σ|terms|. With certainty |error| <= n·u·Σ|terms|, which is less for n < λ². Equal terms added one by
// one are not independent (their errors can add up to n/3·u·Σ|terms|, which passes the bound beyond n = 729);
// kernels add in blocks, where the depth, block + n/block, is far below n, and that reserve also pays for
// what they do once a block: rescaling to a new maximum, merging a ring step, decaying a state (up to some
// 50,000 tokens of blocks of 64 if all its roundings had one sign, which they have not: in 2²⁰ tokens, at
// slope 1e-6 with constant operands, honest results took 0.22 of the bound: cases/long.csv).
//
// Softmax, s = scale·q·k, P = exp(s - lse). An absolute error of a logit is a relative error of its
// probability:
//   ε_ij = growth(d)·|scale|·Σ|q||k|                          logit
//   r_i  = Σ_j P_ij ε_ij + kLse·(|lse_i| + log m)              lse of m visible keys
//          + kMergedLse·max_j |s_ij| + growth(m)               exp
//   w_ij = ε_ij + r_i                                          relative error of P_ij
//   o_i:  Σ_j P_ij (w_ij + growth(m)) |v_j| + kMerge·max_j |v_j|
//   Δ_i:  growth(e)·Σ|do||o| + Σ|do|·error_o
//         and, o being rounded to storage first, D_i = Σ|do||o| in units of u_store
//   dP_ij: growth(e)·A_ij, A = |do||v|ᵀ
//   dS_ij: |dS_ij|·(w_ij + kScore) + P_ij·(growth(e)·A_ij + errΔ_i)
//   dq_i: |scale|·Σ_j (errdS_ij + growth(m)·|dS_ij|) |k_j|
//         and |dq_i| + |scale|·Σ_j P_ij D_i |k_j| in units of u_store
//   dk_j: likewise, over the queries that see j in all heads of the group, with |q_i|
//   dv_j: Σ_i P_ij (w_ij + growth(queries of j)) |do_i|
// Forward and backward use the same rounded lse, and P/l of a forward pass with a running maximum is the same
// P with the same errors. A merge of partial results multiplies by exp(lse_a - lse): for each of its keys
// lse_a lies between s_ij and lse, so that |lse_a| <= |s_ij| + |lse|, and its roundings are counted with
// those two; a running maximum lies between s_ij and max_j s_ij, whose size is at most |lse_i| + log m.
//
// The common merge, o <- o - σ·(o - o_b), σ = 1/(1 + exp(lse - lse_b)) the weight of block b among the keys
// so far. Its difference, its product, and the sum and the division in σ are rounded in proportion to σ·(|o|
// + |o_b|), where a sum of two products has (1 - σ)·|o| + σ·|o_b|: a partial o that is to vanish leaves a
// trace. In the final result, where b weighs W_b = Σ_j∈b P_ij in all, these four add up to u·Σ_b W_b·(|o| +
// |o_b|). That of o_b is among the roundings of a weight. |o| is a mean of what the row sees, at most max_j
// |v_j| in its dim, and Σ_b W_b <= 1 whatever the number of blocks. What exp errs by is in proportion to σ·(1
// - σ)·|o|, no more than o's own share after the merge: among those of the weight, too.
// Its lse <- lse - log σ', σ' = 1/(1 + exp(lse_b - lse)): where lse_b is far above, the difference and the
// logarithm are of the size of lse_b - lse and rounded in proportion to that. Such steps climb, from the
// smallest logit that the row sees, or more, to the largest and log m: by 2·max_j |s_ij| in all, twice, and
// log m, which kLse has room for. The other way round, o <- o_b + (1 - σ)·(o - o_b), errs by its o_b in every
// block, the more the more blocks there are: nothing here covers that.
//
// Lightning: a sum of d (or e) products inside a sum of n terms, each times decay powers, in either order:
//   error = Σ|terms|·(growth(d or e) + growth(n) + decay).
//
// Some query rows (Operands::rows). The do of all others is 0, and so are their dP, Δ and dS, whatever their
// weights: what they add to dk and dv is exactly 0, and adding it rounds nothing. The queries of key j are
// then those among the rows that see it, in the magnitudes and in growth(). They may be so far apart that a
// block has one of them and no blocks shorten the sum: n/3 for equal terms, as above, where that is more. o
// and dq of the rows themselves have all their keys: nothing changes.
//
// TF32. A tensor core drops the last 13 bits of an operand's fraction: x becomes x(1 - δ), 0 <= δ < 2⁻¹⁰,
// 2¹⁴ units of u = 2⁻²⁴. All δ have one sign and do not average out, so there is no square root: every
// operand of a product adds 2¹⁴ to the roundings of its terms (more never comes of several, as
// (1 - δ)(1 - δ') >= 1 - δ - δ').
// Inputs stored in bf16 or fp16 have at most 11 significant bits and lose nothing; operands that are computed
// in fp32 do. With a units for an input and c for a computed operand:
//   logits, do vᵀ: 2a        P v, Pᵀ do, dS k, dSᵀ q: c + a
//   Lightning, a term of q, k, v (or do): 3a + 3c for the three as they are loaded, for two of them again
//   once they are decayed (a power before either of the two products), and for the score or the state.
// Δ, lse, merges and decays are no matrix products.
//
// Products of bf16. An operand is rounded to nearest: x(1 + δ), |δ| <= 2⁻⁸, 2¹⁶ units of u. Its δ may have
// either sign; all of one sign are allowed for nevertheless, since inputs that repeat round alike. a is 0 for
// inputs stored in bf16, else as large as c.
//
// Sums of tensor cores are truncated (published measurements of Hopper): k products (16 of bf16, 8 of TF32)
// and what they are added to are aligned to the largest of them with two bits more than fp32 has, cut off
// there, and the sum is cut to fp32. An addend loses less than u/2 of the largest, the sum less than 2u of
// itself, so that each k terms cost (k/2 + 2)·u·Σ|terms| at most and n terms (1/2 + 2/k)·n units: 5n/8 in
// bf16, 3n/4 in TF32, of one sign if the terms have one. That is within growth(n) up to n = 207 and 144, so
// in every sum over a head dim, which is 128 at most there. In sums over tokens it is paid out of c. In bf16
// operands are rounded to nearest, which leaves half of c, 2¹⁵ units: with certainty up to 52,000 tokens. In
// TF32 operands may need all of c; but half of it, and half of the loss of each addend and sum, is what bits
// below the last take on average, and a sum that grows from 0 is half its size on average: 3n/16 <= 2¹³ up to
// 43,000 tokens. That is what a rank adds in one sum, as blocks of other ranks are added in fp32; lightning's
// state runs on from rank to rank, but has 3c. Measured on a machine that adds so (512 to 32,768 tokens,
// softmax and lightning almost without decay, Gaussian and constant operands) against the same with sums
// rounded to nearest: the largest share of the bound, of constant operands, is 0.544 in both; no tensor's
// share grew by more than 0.0001 in bf16, 0.012 in TF32.
//
// Where first order ends. Errors of logits, u·ε_ij, and u·w_ij, some 2·u·ε_ij, are taken as small: 1 + w for
// exp(w). In fp32 they are, up to logits of 10³. In TF32 with fp32 inputs u·ε = 2⁻⁹·|scale|·Σ|q||k|: 0.01 for
// Gaussian operands, d = 64 and the usual scale, and 0.6 if q and k are 8 times as large. There it still
// bounds honest results (they take a seventh of it, error_model_test.cpp), since all terms of a logit would
// have to err by the most and with the sign of its product to reach ε; but from u·w_ij near 1 on it exceeds Σ
// P|v| itself, and then says of o no more than that it is of the size of v. Such elements count as telling
// nothing (compare.h).
//
// Flush to zero, denormals as zero: each intermediate below the smallest normal number may become 0. The
// floor is that number times the number of intermediates that reach one element times the largest factors
// they meet on the way.
#pragma once

#include <algorithm>
#include <cmath>
#include <initializer_list>

#include "reference/dtype.h"
#include "reference/problem.h"
#include "reference/view.h"

namespace ringside {

// Deterministic roundings, counted besides those of the sums.
/// Of a logit, relative to Σ|q||k|: the scale; log2(e) and the product with it, for exp2; the subtraction of
/// a maximum; and the same four (stored, two for log2(e), subtracted) of a partial lse no larger than it.
inline constexpr int kLogit = 8;
/// Of an lse, relative to |lse| + log(visible): stored, two for log2(e), subtracted; eight merges one after
/// the other.
inline constexpr int kLse = 12;
/// Of an lse that the common merge makes, relative to the largest |logit| that the row sees.
inline constexpr int kMergedLse = 4;
/// Of a weight, relative to it: exp to 2 ulps (4u) of the weight itself and of two rescales, normalisation,
/// and the multiplications with these.
inline constexpr int kWeight = 24;
/// Of a merge, relative to the largest |v| that the row sees: o - o_b, its product with σ; in σ a sum and a
/// division.
inline constexpr int kMerge = 4;
/// Of a score gradient, relative to it: the subtraction of Δ, the product with P, the scale, the store as an
/// operand.
inline constexpr int kScore = 4;
/// Of an inner product that is stored as an operand: one.
inline constexpr int kStore = 1;
/// Of a decayed term, relative to it: three powers (in a block, across blocks, out of a block), each with an
/// exp to 2 ulps and a multiplication.
inline constexpr int kDecay = 15;

/// c above: roundings that truncating or rounding an operand computed in fp32 amounts to.
constexpr double operand_roundings(Math math) {
  return math == Math::tf32 ? 0x1p14 : math == Math::bf16 ? 0x1p16 : 0;
}

/// a above: of an input, which bf16 and fp16 store with no more bits than TF32 has, and bf16 with those of
/// bf16.
constexpr double input_roundings(const Arithmetic& arithmetic) {
  const bool fits = arithmetic.storage == DType::bf16 ||
                    (arithmetic.storage == DType::fp16 && arithmetic.math != Math::bf16);
  return fits ? 0 : operand_roundings(arithmetic.math);
}

/// Of a term of lightning attention, all its products together.
constexpr double lightning_roundings(const Arithmetic& arithmetic) {
  return 3 * (input_roundings(arithmetic) + operand_roundings(arithmetic.math));
}

/// Of the longest chain of products behind a result, by what becomes of operands alone. Softmax: q, k in the
/// logit, do, v in dP, then dS and k or q.
constexpr double chain_roundings(Operator op, const Arithmetic& arithmetic) {
  return op == Operator::lightning ? lightning_roundings(arithmetic)
                                   : 5 * input_roundings(arithmetic) + operand_roundings(arithmetic.math);
}

/// Growth of the rounding error of a sum of `len` terms, each with `roundings` more, relative to Σ|terms|.
inline double growth(Index len, double roundings = 0) {
  const auto n = static_cast<double>(len);
  return std::min(n, 9 * std::sqrt(n)) + roundings;
}

/// The same for sums over the few query rows of Operands::rows.
inline double growth_of_few(Index len, double roundings = 0) {
  return std::max(growth(len), static_cast<double>(len) / 3) + roundings;
}

/// r_i above: relative error of a softmax weight, but for that of its own logit. logit_error: Σ_j P_ij ε_ij;
/// largest: max_j |s_ij|. A row that sees nothing has no weights: 0.
inline double weight_error(Index visible, double lse, double logit_error, double largest) {
  if (visible == 0) return 0;
  return logit_error + kLse * (std::abs(lse) + std::log(static_cast<double>(visible))) +
         kMergedLse * largest + growth(visible, kWeight);
}

/// Relative error of a product of decay powers λ^k in all, k < seq, each computed as exp(-slope·k), its
/// argument rounded three times (product, log2(e), product with it). Beyond slope·k = 88 the power is below
/// the smallest normal number.
inline double decay_error(double slope, Index seq) {
  return 3 * std::min(slope * static_cast<double>(seq - 1), 88.0) + kDecay;
}

/// Underflow floor: `intermediates` that may vanish, times the largest remaining factors (taken as at least
/// 1).
inline double underflow_floor(double intermediates, std::initializer_list<double> factors) {
  double floor = kSmallestNormal * intermediates;
  for (const double factor : factors) floor *= std::max(1.0, factor);
  return floor;
}

}  // namespace ringside
