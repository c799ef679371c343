// From measurements to a verdict.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "harness/cases/case.h"
#include "harness/judge/compare.h"
#include "harness/judge/finding.h"

namespace ringside {

/// How a case ended. mistrusted: nothing exceeded a bound, but what was compared could not have told.
/// A case of a known fault (Case::fault) has xfail for fail and xpass for pass.
enum class Status { pass, fail, mistrusted, skip, xfail, xpass };

inline constexpr std::array kStatuses = {Status::pass, Status::fail,  Status::mistrusted,
                                         Status::skip, Status::xfail, Status::xpass};

std::string_view to_string(Status status);

/// Whether it makes a run's exit status 1.
inline bool is_red(Status status) {
  return status == Status::fail || status == Status::mistrusted || status == Status::xpass;
}

/// The row bound: a row of a result that was put together from P partial ones may stray
///   kRowFactor·√P times as far as the worst row of the control (a single-rank run), which is one part: the
///   parts' errors, and those of the lse that each merge rounds, are independent; and kRowRoundings + 3P
///   roundings of the sum of its terms' magnitudes: the control run can be exact by luck (constant data
///   cancel) where each merge or carried state rounds a factor, a product and a sum.
/// kRowFactor is calibrated, not derived: over the cases of cases/ no row used more than a quarter of its
/// limit.
inline constexpr double kRowFactor = 4;
inline constexpr double kRowRoundings = 8;
/// Where the data are not random the control run may be exact by luck, and one that normalises, truncates or
/// adds in another order strays from it: the element bound alone judges rows. A bucket with fewer elements
/// has no envelope worth the name: the element bound alone judges its rows.
inline constexpr std::int64_t kEnvelopeElements = 1024;

/// The limit of a whole tensor: over kTensorElements elements or more, and where the control run's error is
/// not that
///   of fewer than kTensorRows rows, the roundings of Gaussian data average out. Explained is what the
///   control run errs by, but no less than what one operand and the result are rounded by
///   (kMeanSquareRounding·u²·x² each, for a fraction between 1 and 2 of logarithmic distribution: the control
///   run may be exact where weights are equal); and the roundings that are stated:
///   - shares that are rounded before they are added: at most u·|share| each, with a third of its square in
///   the mean;
///   - partial results, once more than in the control run, whose blocks are the smallest there may be, and
///   exact where
///     they have one key.
///   ‖x - ref‖ may be kTensorFactor times that, which is calibrated: over 10,000 random cases right results
///   were at most 1.16 times. Where nothing is rounded but sums the order decides; in lightning attention on
///   rounded operands which of them are computed (a single rank has no state to round): rows are judged
///   instead.
inline constexpr double kTensorFactor = 1.3;
inline constexpr double kTensorRows = 16;
inline constexpr double kMeanSquareRounding = 0.18;  // ∫ 1/x³ dx / (3·ln 2) from 1 to 2
inline constexpr std::int64_t kTensorElements = 4096;
/// The grid: a rank all of whose values are numbers of another 16-bit type has rounded them to it. A value of
///   the control run is one by chance with a probability of 1/8 (fp16 as bf16) or less. One element with more
///   bits is enough to pass: heads are not judged apart.
inline constexpr std::int64_t kGridElements = 64;

/// One tensor's figures and what is wrong with it, if anything.
struct TensorVerdict {
  bool given = true;  ///< false: there is no such tensor, and nothing else here means anything
  TensorStats stats{};
  std::vector<RankStats> ranks{};  ///< one a rank of the world, dp-major
  double relative_error = 0;       ///< ‖x - ref‖ / ‖ref‖ over all ranks (Frobenius)
  double mean_abs = 0;
  double legacy = 0;     ///< mean |x - y| on rank 0, differences and mean in bf16, as LASP prints it
  double row_share = 0;  ///< worst row: share of its limit
  RowShare worst_row{};
  double error_share = 0;           ///< relative error: share of its limit
  std::int64_t coarse = 0;          ///< elements that need bits which a whole rank's values lack
  double bias = 0, bias_limit = 0;  ///< |least-squares slope of x on ref - 1|, its limit on that side
  /// Errors so large that zeros would pass, though the control run is much nearer: what is far off then
  /// passes.
  bool far_from_honest = false;
  std::vector<Finding> findings{};  ///< empty: passed
};

/// Judges one tensor of case `c`. `control`: the same measurements of the control (a single-rank run).
/// `random`: whether the inputs look as if they had been drawn.
TensorVerdict judge(const Case& c, const TensorStats& stats, std::vector<RankStats> ranks,
                    const TensorStats& control, bool random);

/// True if a tensor of zeros would have passed (a gradient that is zero by definition).
bool tells_nothing(const TensorStats& stats);

}  // namespace ringside
