// The statistics that the gate decides by: exact, nothing approximated by a normal law or by resampling.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace ringside {

/// Mean of the two middle values if their number is even. Throws std::invalid_argument if there is none.
double median(std::span<const double> values);

/// Nearest rank: the smallest value that at least `share` (in (0, 1]) of the values do not exceed. Throws
/// std::invalid_argument if there is none.
double percentile(std::span<const double> values, double share);

/// Wilcoxon's signed-rank test, one-sided: probability of a sum of the positive values' ranks as large as
/// this one or larger, if each sign were a fair coin's. Zeros are left out (Wilcoxon's own rule); equal
/// magnitudes share the mean of their ranks, and the distribution is that of these very ranks, exact with
/// ties too. 1 if nothing is left. It takes O(n^3) time and is exact in double up to n = 53. Of n values the
/// smallest is 2^-n: 1/128 for 7, 1/32768 for 15. The largest that passes a threshold says how much may point
/// the other way: 5/128 = 0.039 <= 0.05 (contrary ranks up to a sum of 3), 25/32768 = 0.00076 <= 0.001 (up to
/// 8).
double signed_rank_p(std::span<const double> values);

struct ConfidenceInterval {
  double low = 0, high = 0;
};

/// Percentile bootstrap interval of the median, of an odd number n of values: what infinitely many resamples
/// give, so that nothing is drawn. A resample's median is at most the k-th smallest value exactly if at least
/// (n+1)/2 of its draws are, each with probability k/n (Efron, The Jackknife, the Bootstrap and Other
/// Resampling Plans, 1982, ch. 10); the ends are its quantiles (1 ∓ confidence)/2. Of the median rather than
/// the mean, since one outlier among 15 rounds moves the mean's ends by a share of itself and these by a
/// place in order. At 95%: the 4th and the 12th of 15, the 2nd and the 6th of 7. Throws std::invalid_argument
/// for an even n.
ConfidenceInterval median_interval(std::span<const double> values, double confidence);

/// 0 … n-1 in an order that the seed alone determines, on any machine (Fisher, Yates; Philox4x32-10).
std::vector<std::size_t> shuffled(std::size_t n, std::uint64_t seed);

}  // namespace ringside
