#include "harness/base/statistics.h"

#include <Random123/philox.h>
#include <fmt/format.h>

#include <algorithm>
#include <boost/math/distributions/binomial.hpp>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <utility>

namespace ringside {
namespace {

std::vector<double> sorted(std::span<const double> values) {
  if (values.empty()) throw std::invalid_argument("statistics of no values");
  std::vector<double> all(values.begin(), values.end());
  std::ranges::sort(all);
  return all;
}

/// Twice the mid-rank of each magnitude of `sorted`: whole numbers.
std::vector<std::size_t> doubled_ranks(const std::vector<double>& sorted) {
  std::vector<std::size_t> ranks;
  while (ranks.size() < sorted.size()) {
    const std::size_t first = ranks.size();
    const auto end = std::upper_bound(sorted.begin(), sorted.end(), sorted[first]);
    const auto last = static_cast<std::size_t>(end - sorted.begin());  // ranks first + 1 … last
    ranks.resize(last, first + 1 + last);
  }
  return ranks;
}

}  // namespace

double median(std::span<const double> values) {
  const std::vector<double> all = sorted(values);
  return (all[(all.size() - 1) / 2] + all[all.size() / 2]) / 2;
}

double percentile(std::span<const double> values, double share) {
  const std::vector<double> all = sorted(values);
  // share·n may come out a rounding error above a whole number: 0.95·20 is 19
  const double rank = std::ceil(share * static_cast<double>(all.size()) * (1 - 1e-12));
  return all[static_cast<std::size_t>(std::clamp(rank, 1.0, static_cast<double>(all.size()))) - 1];
}

double signed_rank_p(std::span<const double> values) {
  std::vector<double> left;
  std::ranges::copy_if(values, std::back_inserter(left), [](double x) { return x != 0; });
  std::ranges::sort(left, {}, [](double x) { return std::fabs(x); });
  std::vector<double> magnitudes;
  for (const double x : left) magnitudes.push_back(std::fabs(x));
  const std::vector<std::size_t> ranks = doubled_ranks(magnitudes);
  std::size_t positive = 0, all = 0;
  for (std::size_t i = 0; i < left.size(); ++i) {
    all += ranks[i];
    if (left[i] > 0) positive += ranks[i];
  }
  std::vector<double> probability(all + 1, 0.0);  // of each sum of the ranks seen so far
  probability[0] = 1;
  std::size_t reached = 0;
  for (const std::size_t rank : ranks) {
    reached += rank;
    for (std::size_t sum = reached + 1; sum-- > 0;) {
      probability[sum] = (probability[sum] + (sum >= rank ? probability[sum - rank] : 0.0)) / 2;
    }
  }
  return std::accumulate(probability.begin() + static_cast<std::ptrdiff_t>(positive), probability.end(), 0.0);
}

ConfidenceInterval median_interval(std::span<const double> values, double confidence) {
  const std::vector<double> all = sorted(values);
  const std::size_t n = all.size(),
                    half = n / 2;  // a resample's median is <= x if over `half` of its draws are
  if (n % 2 == 0) throw std::invalid_argument(fmt::format("median_interval: {} values, an even number", n));
  const auto quantile = [&](double share) {
    for (std::size_t k = 1; k < n; ++k) {
      const boost::math::binomial draws(static_cast<double>(n),
                                        static_cast<double>(k) / static_cast<double>(n));
      if (cdf(complement(draws, static_cast<double>(half))) >= share) return all[k - 1];
    }
    return all[n - 1];
  };
  return {quantile((1 - confidence) / 2), quantile((1 + confidence) / 2)};
}

std::vector<std::size_t> shuffled(std::size_t n, std::uint64_t seed) {
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  const philox4x32_key_t key = {{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)}};
  for (std::size_t left = n; left > 1; --left) {
    const philox4x32_ctr_t random = philox4x32_R(10, {{static_cast<std::uint32_t>(left), 0, 0, 0}}, key);
    const auto at = static_cast<std::size_t>((random.v[0] * static_cast<std::uint64_t>(left)) >> 32);
    std::swap(order[left - 1], order[at]);
  }
  return order;
}

}  // namespace ringside
