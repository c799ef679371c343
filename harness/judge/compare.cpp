#include "harness/judge/compare.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "harness/base/hash.h"
#include "reference/dtype.h"
#include "reference/oracle_common.h"

namespace ringside {
namespace {

void count_failure(RankStats& rank, Index token, Index seq) {
  ++rank.failed;
  ++rank.failed_in[stretch_of(token, seq)];
}

float as_bf16(float x) { return to_float(to_bf16(x)); }

constexpr double kInfinity = std::numeric_limits<double>::infinity();

constexpr Index kLanes = 8;
using Lanes = std::array<double, kLanes>;

/// What is summed over a row before it enters the head's figures. Lane i has the elements at dims i, i + 8,
/// …: vector instructions add to all lanes at once, and the order of sums is the same without them.
struct Row {
  Lanes sum_abs{}, max_abs{}, error2{}, ref2{}, bound2{}, x_ref{};
  Lanes slope_certain{}, slope_store{}, slope_error{}, share2{};
  std::array<std::int64_t, kLanes> zeros{}, telling{};
  std::int64_t elements = 0;
};

template <typename T>
T sum(const std::array<T, kLanes>& lanes) {
  return std::accumulate(lanes.begin(), lanes.end(), T{});
}

/// One element and its bound.
struct Sample {
  double x, ref;
  Bound parts;
  double bound;

  Sample(const HeadView& head, std::size_t at)
      : x(static_cast<double>(head.values[at])),
        ref(head.expected.value[at]),
        parts(bound_at(head.expected, at, head.rounding)),
        bound(parts.sum()) {}
};

/// Adds an element with a finite reference to the lane's sums.
inline void add(const Sample& s, double error, std::size_t lane, Row& row) {
  row.max_abs[lane] = std::max(row.max_abs[lane], error);
  row.sum_abs[lane] += error;
  row.error2[lane] += error * error;
  row.ref2[lane] += s.ref * s.ref;
  row.bound2[lane] += s.bound * s.bound;
  row.x_ref[lane] += s.x * s.ref;
  row.slope_certain[lane] += (s.parts.accumulated + s.parts.floor) * std::abs(s.ref);
  row.slope_store[lane] += s.parts.stored * std::abs(s.ref);
  row.slope_error[lane] += (s.x - s.ref) * s.ref;
  row.share2[lane] += s.parts.shares * s.parts.shares;
  row.telling[lane] += std::abs(s.ref) > s.bound;
  row.zeros[lane] += s.ref == 0;
}

/// The next kLanes elements, if all are finite, within their bounds and no closer to them than max_share, as
/// nearly all are: there is nothing to add but sums. Otherwise does nothing and returns false.
bool measure_unremarkable(const HeadView& head, std::size_t at, double max_share, Row& row) {
  const double limit = std::min(max_share, 1.0);
  Lanes remarkable{};
#pragma GCC unroll 1  // the vectoriser is better at it than the unroller
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    const Sample s(head, at + lane);
    const double error = std::abs(s.x - s.ref);  // not finite if one of them is not
    remarkable[lane] = (error <= limit * s.bound ? 0.0 : 1.0) + 0 * error;  // NaN if it is not
  }
  if (sum(remarkable) != 0) return false;
#pragma GCC unroll 1
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    const Sample s(head, at + lane);
    add(s, std::abs(s.x - s.ref), lane, row);
  }
  row.elements += kLanes;
  return true;
}

/// Whether a finite number may stand there.
bool may_be_number(const HeadView& head, const Sample& s) {
  return std::abs(s.ref) - s.bound < head.rounding.overflow;  // false for NaN
}

bool may_be_nan(const HeadView& head, Index token) {
  return head.either.may_be_nan && head.either.may_be_nan(token);
}

/// Whether a value is right whose distance from the reference says nothing: one of them is not finite.
bool is_right_pattern(const HeadView& head, const Sample& s, Index token, std::size_t at) {
  const double threshold = head.rounding.overflow;
  if (!std::isfinite(s.ref)) {
    if (std::isnan(s.x) || s.x == s.ref || (std::isnan(s.ref) && std::isinf(s.x))) return true;
    return std::isnan(s.ref) && head.either.may_be_finite && head.either.may_be_finite(token);
  }
  if (std::isfinite(s.x)) return false;
  if (may_be_nan(head, token)) return true;
  if (parts_may_overflow(head.expected, at, s.parts, head.rounding)) return true;
  return std::isinf(s.x) && (s.x > 0 ? s.ref + s.bound >= threshold : s.ref - s.bound <= -threshold);
}

/// Judges one element; true if it stays within its bound.
bool measure_element(const HeadView& head, Index token, Index dim, std::size_t at, TensorStats& stats,
                     Row& row) {
  const Sample s(head, at);
  const bool finite = may_be_number(head, s);
  stats[Count::nonfinite] += !finite;
  if (is_right_pattern(head, s, token, at)) {
    stats[Count::elements] += finite && !may_be_nan(head, token);
    return true;
  }
  const bool same_pattern = finite && std::isfinite(s.x);
  const double error = same_pattern ? std::abs(s.x - s.ref) : kInfinity;
  const double share = error == 0 ? 0 : same_pattern ? error / s.bound : kInfinity;
  if (!(share <= stats.max_share)) {
    stats.max_share = share;
    const int rank = head.first_rank + head.holder[static_cast<std::size_t>(token)];
    stats.worst = {head.batch, head.head, token, dim, rank, s.x, s.ref, s.parts};
  }
  stats[Count::pattern_errors] += !same_pattern;
  stats.max_abs = std::max(stats.max_abs, error);
  if (finite) {
    ++row.elements;
    add(s, error, static_cast<std::size_t>(dim % kLanes), row);
  }
  return share <= 1;
}

/// One row of padding, or of o or dq that is not asked for.
void measure_unasked(const HeadView& head, Index token, TensorStats& stats, RankStats& rank) {
  const bool is_padding = token >= head.problem.tokens_in_documents();
  const bool is_zero = is_padding || head.out == Out::dq;
  const double limit = is_padding ? 0
                       : is_zero  ? head.expected.floor
                                  : double{std::numeric_limits<float>::max()};
  const Index dims = shape_of(head.problem, head.out).dim;
  stats[Count::unasked] += dims;
  for (Index d = 0; d < dims; ++d) {
    const double x = double{head.values[static_cast<std::size_t>(token * dims + d)]};
    if (std::abs(x) <= limit) continue;
    ++stats[Count::failed];
    count_failure(rank, token, head.problem.seq);
    stats[Count::pattern_errors] += !std::isfinite(x);
    if (is_zero) {
      stats.max_abs = std::max(stats.max_abs, std::isfinite(x) ? std::abs(x) : kInfinity);
      stats[Sum::abs] += std::isfinite(x) ? std::abs(x) : 0;
      stats[Sum::error2] += std::isfinite(x) ? x * x : 0;
      rank.sum_error2 += std::isfinite(x) ? x * x : 0;
    }
    const double share = std::isfinite(x) ? std::abs(x) / limit : kInfinity;
    if (!(share > stats.max_share)) continue;
    const int holder = head.first_rank + head.holder[static_cast<std::size_t>(token)];
    const double expected = is_zero ? 0 : std::numeric_limits<double>::quiet_NaN();
    stats.max_share = share;
    stats.worst = {head.batch, head.head, token, d, holder, x, expected, {.floor = limit}};
  }
}

/// Whether that row is judged against the reference.
bool is_judged(const HeadView& head, Index token) {
  const bool asked =
      per_kv_head(head.out) || head.rows.empty() || std::ranges::binary_search(head.rows, token);
  return asked && token < head.problem.tokens_in_documents();
}

/// For the ranks that have no value with fine_bits(): how many should have some. An element counts where the
/// reference tells something and the control run has them.
void count_coarse(const HeadView& head, std::span<RankStats> by_rank) {
  const std::uint32_t fine = fine_bits(head.dtype);
  if (head.control.empty() ||
      std::ranges::all_of(by_rank, [&](const RankStats& r) { return (r.bits & fine) != 0; }))
    return;
  const Index dims = shape_of(head.problem, head.out).dim;
  for (Index t = 0; t < head.problem.seq; ++t) {
    RankStats& rank = by_rank[static_cast<std::size_t>(head.holder[static_cast<std::size_t>(t)])];
    if ((rank.bits & fine) != 0 || !is_judged(head, t)) continue;
    for (Index d = 0; d < dims; ++d) {
      const auto at = static_cast<std::size_t>(t * dims + d);
      const Sample s(head, at);
      rank.coarse +=
          std::abs(s.ref) > s.bound && (std::bit_cast<std::uint32_t>(head.control[at]) & fine) != 0;
    }
  }
}

/// Judges the elements of a row; returns their sums.
Row measure_row(const HeadView& head, Index token, TensorStats& stats, RankStats& rank) {
  const Index dims = shape_of(head.problem, head.out).dim;
  Row row;
  for (Index d = 0; d < dims;) {
    const auto at = static_cast<std::size_t>(token * dims + d);
    if (d + kLanes <= dims && measure_unremarkable(head, at, stats.max_share, row)) {
      d += kLanes;
      continue;
    }
    for (const Index end = std::min(dims, d + kLanes); d < end; ++d) {
      if (measure_element(head, token, d, static_cast<std::size_t>(token * dims + d), stats, row)) continue;
      ++stats[Count::failed];
      count_failure(rank, token, head.problem.seq);
    }
  }
  return row;
}

/// Adds a row's sums to those of its head and of the rank that holds it.
void add_row(const HeadView& head, Index token, const Row& row, TensorStats& stats, RankStats& rank) {
  const double error2 = sum(row.error2), ref2 = sum(row.ref2);
  const double slope_store = sum(row.slope_store), slope_error = sum(row.slope_error);
  const std::int64_t telling = sum(row.telling);
  stats[Count::elements] += row.elements;
  stats[Count::telling] += telling;
  if (telling > 0) stats[Count::zeros] += sum(row.zeros);
  stats.max_abs = std::max(stats.max_abs, std::ranges::max(row.max_abs));
  stats[Sum::abs] += sum(row.sum_abs);
  stats[Sum::error2] += error2;
  stats[Sum::ref2] += ref2;
  stats[Sum::row_error4] += error2 * error2;
  stats[Sum::share2] += sum(row.share2);
  stats[Sum::x_ref] += sum(row.x_ref);
  stats[Sum::slope_certain] += sum(row.slope_certain);
  stats[Sum::slope_store] += slope_store;
  stats[Sum::slope_store2] += slope_store * slope_store;
  stats[Sum::slope_error2] += slope_error * slope_error;
  rank.sum_error2 += error2;
  rank.sum_ref2 += ref2;
  RowShare& bucket =
      stats.rows[static_cast<std::size_t>(row_bucket(head.problem, head.out, token, head.rows))];
  const double share = error2 == 0 ? 0 : std::sqrt(error2 / sum(row.bound2));
  if (!(share <= bucket.share)) bucket = {share, head.batch, head.head, token, bucket.elements};
  bucket.elements += row.elements;
}

/// Adds what a row of sequence rank 0 is off the yardstick by.
void add_legacy(const HeadView& head, Index token, std::span<const float> values, TensorStats& stats) {
  const float* yardstick = &head.yardstick[static_cast<std::size_t>(token) * values.size()];
  for (const float x : values) {
    stats[Sum::legacy] += static_cast<double>(std::abs(as_bf16(x - *yardstick++)));
  }
  stats[Count::legacy_elements] += std::ssize(values);
}

/// Hashes the bits of floats, in order: FNV-1a over 32-bit words, in chains that need not wait for each
/// other.
class Digest {
 public:
  void add(std::span<const float> values) {
    std::size_t i = 0;
    for (; i + kChains <= values.size(); i += kChains) {
      for (std::size_t chain = 0; chain < kChains; ++chain) mix(chains_[chain], values[i + chain]);
    }
    for (; i < values.size(); ++i) mix(chains_[0], values[i]);
  }
  std::uint64_t value() const { return std::accumulate(chains_.begin(), chains_.end(), kFnvStart, fnv_step); }

 private:
  static constexpr std::size_t kChains = 4;
  static void mix(std::uint64_t& hash, float x) { hash = fnv_step(hash, std::bit_cast<std::uint32_t>(x)); }
  std::array<std::uint64_t, kChains> chains_ = {kFnvStart, kFnvStart, kFnvStart, kFnvStart};
};

}  // namespace

int row_bucket(const Problem& problem, Out out, Index token, std::span<const Index> rows) {
  const Index terms = !per_kv_head(out) ? keys_seen(problem, token).count()
                      : rows.empty()    ? queries_seeing(problem, token).count()
                                        : seen_by(problem, rows, token);
  return static_cast<int>(std::bit_width(static_cast<std::uint64_t>(std::max<Index>(terms, 1)))) - 1;
}

double bound_of(const HeadView& head, std::size_t at) {
  const auto first_of_padding =
      static_cast<std::size_t>(head.problem.tokens_in_documents() * shape_of(head.problem, head.out).dim);
  return at < first_of_padding ? Sample(head, at).bound : 0;
}

bool is_right(const HeadView& head, std::size_t at) {
  const Sample s(head, at);
  const Index token = static_cast<Index>(at) / shape_of(head.problem, head.out).dim;
  return is_right_pattern(head, s, token, at) || (may_be_number(head, s) && std::abs(s.x - s.ref) <= s.bound);
}

TensorStats measure(const HeadView& head, std::span<RankStats> by_rank) {
  const Index dims = shape_of(head.problem, head.out).dim;
  TensorStats stats;
  Digest digest;
  for (Index t = 0; t < head.problem.seq; ++t) {
    const int holder = head.holder[static_cast<std::size_t>(t)];
    RankStats& rank = by_rank[static_cast<std::size_t>(holder)];
    const auto values =
        head.values.subspan(static_cast<std::size_t>(t * dims), static_cast<std::size_t>(dims));
    digest.add(values);
    if (!is_judged(head, t)) {
      measure_unasked(head, t, stats, rank);
      continue;
    }
    for (const float x : values) rank.bits |= std::bit_cast<std::uint32_t>(x);
    const Row row = measure_row(head, t, stats, rank);
    if (!head.yardstick.empty() && holder == 0) add_legacy(head, t, values, stats);
    add_row(head, t, row, stats, rank);
  }
  count_coarse(head, by_rank);
  stats.digest = digest.value();
  return stats;
}

void merge(RankStats& total, const RankStats& part) {
  const auto& [error2, ref2, failed, bits, coarse, failed_in] = part;  // a new figure will not compile
  total.sum_error2 += error2;
  total.sum_ref2 += ref2;
  total.failed += failed;
  total.bits |= bits;
  total.coarse += coarse;
  for (std::size_t i = 0; i < kStretches; ++i) total.failed_in[i] += failed_in[i];
}

void merge(TensorStats& total, const TensorStats& part) {
  total.counts += part.counts;
  total.sums += part.sums;
  total.max_abs = std::max(total.max_abs, part.max_abs);
  if (!(part.max_share <= total.max_share)) {
    total.max_share = part.max_share;
    total.worst = part.worst;
  }
  total.digest = fnv_step(total.digest, part.digest);
  for (std::size_t i = 0; i < kRowBuckets; ++i) {
    RowShare& row = total.rows[i];
    const std::int64_t elements = row.elements + part.rows[i].elements;
    if (!(part.rows[i].share <= row.share)) row = part.rows[i];
    row.elements = elements;
  }
}

}  // namespace ringside
