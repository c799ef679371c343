#include "harness/verdict.h"

#include <fmt/format.h>

#include <cmath>

#include "reference/dtype.h"
#include "reference/error_model.h"

namespace ringside {
namespace {

/// Ranks with failing elements: "rank 1: 512, rank 3: 64".
std::string failed_by_rank(const std::vector<RankStats>& ranks) {
  std::string text;
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    if (ranks[r].failed == 0) continue;
    text += fmt::format("{}rank {}: {}", text.empty() ? "" : ", ", r, ranks[r].failed);
  }
  return text;
}

void judge_elements(TensorVerdict& v) {
  if (v.stats.failed == 0) return;
  const Element& w = v.stats.worst;
  v.failures.push_back(
      fmt::format("{} of {} elements beyond their bound ({}){}; worst at batch {}, head {}, position {}, dim "
                  "{} on rank {}: got {:.9g}, "
                  "expected {:.9g}, bound {:.3g}",
                  v.stats.failed, v.stats.elements + v.stats.nonfinite, failed_by_rank(v.ranks),
                  v.stats.pattern_errors > 0
                      ? fmt::format(", {} of them by their NaN/inf pattern", v.stats.pattern_errors)
                      : "",
                  w.batch, w.head, w.token, w.dim, w.rank, w.value, w.expected, w.bound()));
}

/// Rows against the honest run's envelope. Both sides are shares of the same element bound, so the check is
/// about the size of the error alone; the maximum over a bucket of at least kEnvelopeElements elements is a
/// stable figure, and kRowFactor leaves room for another order of summation.
void judge_rows(TensorVerdict& v, int parts, const TensorStats& honest) {
  for (std::size_t i = 0; i < kRowBuckets; ++i) {
    const RowShare& row = v.stats.rows[i];
    if (row.elements < kEnvelopeElements || row.share == 0) continue;
    // the element bound holds growth(terms) roundings of the same magnitudes
    const double floor = (kRowRoundings + 3 * parts) / growth(Index{1} << (i + 1));
    const double allowed = kRowFactor * std::sqrt(parts) * honest.rows[i].share + floor;
    const double share = row.share / allowed;
    if (!(share <= v.row_share)) {
      v.row_share = share;
      v.worst_row = row;
    }
  }
  if (v.row_share <= 1) return;
  v.failures.push_back(
      fmt::format("a row strays {:.1f} times as far as its limit, which an honest single-rank run with as "
                  "many terms gives: "
                  "batch {}, head {}, position {}",
                  v.row_share, v.worst_row.batch, v.worst_row.head, v.worst_row.token));
}

/// The least-squares slope β = Σ x·ref / Σ ref² of an honest result departs from 1 by at most Σ error·|ref| /
/// Σ ref². Accumulation errors may all point one way and are summed as they are. So are
/// storage roundings, unless the data are random: then they are independent from row to row with mean 0
/// (Hoeffding: λ = 9 standard bounds, 5e-18).
void judge_bias(TensorVerdict& v, Fill fill) {
  if (v.stats.sum_ref2 == 0 || v.stats.pattern_errors > 0) return;
  const bool random = fill == Fill::gaussian || fill == Fill::large_logit;
  const double independent = 9 * std::sqrt(v.stats.slope_store2);
  const double store = random ? std::min(v.stats.slope_store, independent) : v.stats.slope_store;
  v.bias = std::abs(v.stats.sum_x_ref / v.stats.sum_ref2 - 1);
  v.bias_limit = (v.stats.slope_certain + store) / v.stats.sum_ref2;
  if (v.bias <= v.bias_limit) return;
  v.failures.push_back(
      fmt::format("biased: the least-squares slope against the reference is off by {:.3g}, limit {:.3g}",
                  v.bias, v.bias_limit));
}

}  // namespace

std::string_view to_string(Status status) {
  switch (status) {
    case Status::pass:
      return "pass";
    case Status::fail:
      return "FAIL";
    case Status::mistrusted:
      return "MISTRUSTED";
    case Status::skip:
      return "skip";
  }
  return "?";
}

bool tells_nothing(const TensorStats& stats) { return stats.telling == 0 && stats.nonfinite == 0; }

TensorVerdict judge(const Case& c, const TensorStats& stats, std::vector<RankStats> ranks,
                    const TensorStats& honest) {
  TensorVerdict v = {.stats = stats, .ranks = std::move(ranks)};
  const auto elements = static_cast<double>(std::max<std::int64_t>(stats.elements, 1));
  v.mean_abs = stats.sum_abs / elements;
  v.relative_error = stats.sum_error2 == 0 ? 0 : std::sqrt(stats.sum_error2 / stats.sum_ref2);
  if (stats.legacy_elements > 0) {
    const double mean = stats.legacy_sum / static_cast<double>(stats.legacy_elements);
    v.legacy = static_cast<double>(to_float(to_bf16(static_cast<float>(mean))));
  }
  judge_elements(v);
  judge_rows(v, c.sp, honest);
  judge_bias(v, c.fill);
  return v;
}

}  // namespace ringside
