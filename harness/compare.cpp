#include "harness/compare.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "reference/dtype.h"

namespace ringside {
namespace {

float as_bf16(float x) { return to_float(to_bf16(x)); }

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// What is summed over a row before it enters the head's figures.
struct Row {
  double error2 = 0, bound2 = 0, slope_store = 0, slope_error = 0;
  std::int64_t zeros = 0, telling = 0;
};

/// Judges one element; true if it stays within its bound.
bool measure_element(const HeadView& head, Index token, Index dim, std::size_t at, TensorStats& stats,
                     Row& row) {
  const double ref = head.expected[at];
  const auto x = static_cast<double>(head.values[at]);
  const double accumulated = head.rounding.accumulator * head.error[at];
  const double shares = head.shares.empty() ? 0 : head.shares[at];
  const double stored = head.rounding.storage * (head.storage[at] + shares);
  const double bound = accumulated + stored + head.floor;
  const double threshold = head.rounding.overflow;
  const bool finite = std::abs(ref) - bound < threshold;  // it is to be; false for NaN
  stats.nonfinite += !finite;
  if (!std::isfinite(ref)) {
    if (std::isnan(x) || x == ref || (std::isnan(ref) && std::isinf(x))) return true;
  } else if (!std::isfinite(x)) {
    if (head.may_be_either && head.may_be_either(token)) return true;
    if (std::isinf(x) && (x > 0 ? ref + bound >= threshold : ref - bound <= -threshold)) {
      stats.elements += finite;
      return true;
    }
  }
  const bool same_pattern = finite && std::isfinite(x);
  const double error = same_pattern ? std::abs(x - ref) : kInfinity;
  const double share = error == 0 ? 0 : error / bound;
  if (!(share <= stats.max_share)) {
    stats.max_share = share;
    const int rank = head.first_rank + head.holder[static_cast<std::size_t>(token)];
    stats.worst = {head.batch, head.head, token, dim, rank, x, ref, accumulated, stored, head.floor};
  }
  stats.pattern_errors += !same_pattern;
  stats.max_abs = std::max(stats.max_abs, error);
  if (finite) {
    ++stats.elements;
    stats.sum_abs += error;
    stats.sum_x_ref += x * ref;
    stats.sum_ref2 += ref * ref;
    stats.slope_certain += (accumulated + head.floor) * std::abs(ref);
    const bool telling = std::abs(ref) > bound;
    row.telling += telling;
    row.zeros += ref == 0;
    row.error2 += error * error;
    row.bound2 += bound * bound;
    row.slope_store += stored * std::abs(ref);
    row.slope_error += (x - ref) * ref;
  }
  return share <= 1;
}

}  // namespace

int row_bucket(const Problem& problem, Out out, Index token) {
  const Index terms = !problem.causal ? problem.seq : per_kv_head(out) ? problem.seq - token : token + 1;
  return static_cast<int>(std::bit_width(static_cast<std::uint64_t>(terms))) - 1;
}

TensorStats measure(const HeadView& head, std::span<RankStats> by_rank) {
  const Index tokens = head.problem.seq;
  const Index dims = shape_of(head.problem, head.out).dim;
  TensorStats stats;
  std::uint64_t digest = 0xcbf29ce484222325u;  // FNV-1a over 32-bit words
  for (Index t = 0; t < tokens; ++t) {
    const int holder = head.holder[static_cast<std::size_t>(t)];
    RankStats& rank = by_rank[static_cast<std::size_t>(holder)];
    Row row;
    const double ref2_before = stats.sum_ref2;
    for (Index d = 0; d < dims; ++d) {
      const auto at = static_cast<std::size_t>(t * dims + d);
      digest = (digest ^ std::bit_cast<std::uint32_t>(head.values[at])) * 0x100000001b3u;
      if (!measure_element(head, t, d, at, stats, row)) {
        ++stats.failed;
        ++rank.failed;
      }
      if (!head.yardstick.empty() && holder == 0) {
        stats.legacy_sum += static_cast<double>(std::abs(as_bf16(head.values[at] - head.yardstick[at])));
        ++stats.legacy_elements;
      }
    }
    stats.telling += row.telling;
    if (row.telling > 0) stats.zeros += row.zeros;
    stats.sum_error2 += row.error2;
    stats.slope_store += row.slope_store;
    stats.slope_store2 += row.slope_store * row.slope_store;
    stats.slope_error2 += row.slope_error * row.slope_error;
    rank.sum_error2 += row.error2;
    rank.sum_ref2 += stats.sum_ref2 - ref2_before;
    RowShare& bucket = stats.rows[static_cast<std::size_t>(row_bucket(head.problem, head.out, t))];
    const double share = row.error2 == 0 ? 0 : std::sqrt(row.error2 / row.bound2);
    if (!(share <= bucket.share)) {
      bucket = {
          .share = share, .batch = head.batch, .head = head.head, .token = t, .elements = bucket.elements};
    }
    bucket.elements += dims;
  }
  stats.digest = digest;
  return stats;
}

void merge(RankStats& total, const RankStats& part) {
  total.sum_error2 += part.sum_error2;
  total.sum_ref2 += part.sum_ref2;
  total.failed += part.failed;
}

void merge(TensorStats& total, const TensorStats& part) {
  if (!(part.max_share <= total.max_share)) {
    total.max_share = part.max_share;
    total.worst = part.worst;
  }
  total.elements += part.elements;
  total.nonfinite += part.nonfinite;
  total.pattern_errors += part.pattern_errors;
  total.failed += part.failed;
  total.zeros += part.zeros;
  total.telling += part.telling;
  total.max_abs = std::max(total.max_abs, part.max_abs);
  total.sum_abs += part.sum_abs;
  total.sum_error2 += part.sum_error2;
  total.sum_ref2 += part.sum_ref2;
  total.sum_x_ref += part.sum_x_ref;
  total.slope_certain += part.slope_certain;
  total.slope_store += part.slope_store;
  total.slope_store2 += part.slope_store2;
  total.slope_error2 += part.slope_error2;
  total.legacy_sum += part.legacy_sum;
  total.legacy_elements += part.legacy_elements;
  total.digest = (total.digest ^ part.digest) * 0x100000001b3u;
  for (std::size_t i = 0; i < kRowBuckets; ++i) {
    RowShare& row = total.rows[i];
    const std::int64_t elements = row.elements + part.rows[i].elements;
    if (!(part.rows[i].share <= row.share)) row = part.rows[i];
    row.elements = elements;
  }
}

}  // namespace ringside
