// Operands, rows and threads that the oracles share.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "reference/dtype.h"
#include "reference/problem.h"
#include "reference/truth.h"

namespace ringside {

/// Throws std::invalid_argument unless the operator is `op`, the sizes are consistent and the operands have
/// the problem's shapes and rows.
void check_problem(const Problem& problem, Operator op, const Operands& operands);

/// True if no operand holds a NaN or an infinity.
bool all_finite(const Operands& operands);

/// Zero tensors of the problem's shapes, with the underflow floors of its operator (error_model.h).
Truth make_truth(const Problem& problem, const Operands& operands, DType storage);

/// 0, 1, …, count - 1.
std::vector<Index> all_rows(Index count);

/// Tokens [first, end).
struct TokenRange {
  Index first = 0, end = 0;

  Index count() const { return end - first; }
};

/// The tokens of the document that holds `token`; of padding: none.
TokenRange document_of(const Problem& problem, Index token);

/// The keys that a query sees, and the queries that see a key (Problem: causal, window, cu_seqlens): none of
/// padding. Neither end decreases with the token.
TokenRange keys_seen(const Problem& problem, Index query);
TokenRange queries_seeing(const Problem& problem, Index key);

/// Operands::rows, all of them if it is empty, without those of padding: their o and dq are 0.
std::vector<Index> query_rows(const Problem& problem, const Operands& operands);

/// How many of the rows, which increase, see a key.
Index seen_by(const Problem& problem, std::span<const Index> rows, Index key);

/// Growth of the sums that a key gathers over those rows in all heads of its group.
double key_growth(const Problem& problem, std::span<const Index> rows, Index key, double roundings);

/// Calls work(batch entry, kv head) once for each pair, from `threads` threads (the caller is one of them)
/// that keep denormals. Rethrows the first exception. Throws std::invalid_argument if threads < 1.
void for_each_group(const Problem& problem, int threads, const std::function<void(Index, Index)>& work);

}  // namespace ringside
