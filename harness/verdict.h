// From measurements to a verdict.
#pragma once

#include <string>
#include <vector>

#include "harness/compare.h"

namespace ringside {

/// How a case ended. mistrusted: nothing exceeded a bound, but what was compared could not have told.
enum class Status { pass, fail, mistrusted, skip, error };

std::string_view to_string(Status status);

/// The row bound: how often the honest run's own envelope a row may reach, beside kRowRoundings roundings of
/// the sum of its terms' magnitudes. An honest envelope can be 0 (constant data cancel exactly) where another
/// order of summation, a merge or a carried state rounds a few times more: to and from the merge's three
/// products on either side, and a store.
inline constexpr double kRowFactor = 4;
inline constexpr double kRowRoundings = 8;
/// A bucket with fewer elements has no envelope worth the name: the element bound alone judges its rows.
inline constexpr std::int64_t kEnvelopeElements = 1024;

/// One tensor's figures and what is wrong with it, if anything.
struct TensorVerdict {
  TensorStats stats{};
  std::vector<RankStats> ranks{};  ///< one a rank of the world, dp-major
  double relative_error = 0;       ///< ‖x - ref‖ / ‖ref‖ over all ranks (Frobenius)
  double mean_abs = 0;
  double legacy = 0;     ///< mean |x - y| on rank 0, differences and mean in bf16, as LASP prints it
  double row_share = 0;  ///< worst row: share of its limit
  RowShare worst_row{};
  double bias = 0, bias_limit = 0;      ///< |least-squares slope of x on ref - 1|
  std::vector<std::string> failures{};  ///< one line each; empty: passed
};

/// Judges one tensor. `honest`: the same measurements of an honest single-rank run.
TensorVerdict judge(const TensorStats& stats, std::vector<RankStats> ranks, const TensorStats& honest);

/// True if no element of the tensor could have told zero from the truth (a gradient that is zero by
/// definition).
bool zero_by_definition(const TensorStats& stats);

}  // namespace ringside
