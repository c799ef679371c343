// Where in a sequence, and on which ranks, a result is wrong.
#pragma once

#include <span>
#include <string>

#include "harness/judge/run_case.h"

namespace ringside {

/// A line for each tensor with failures and each rank: the sequence in kStretches stretches, ' ' where the
/// rank holds nothing of it, '.' where nothing that it holds is wrong, 'x' where some elements are, 'X' where
/// at least half of them are. `holder`: sequence rank of each token.
std::string picture(const CaseResult& result, std::span<const int> holder);

}  // namespace ringside
