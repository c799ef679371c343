#include "harness/history/change_points.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/math/special_functions/beta.hpp>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace ringside {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// rss of y[i, j) about its mean, for each i < j.
class Costs {
 public:
  explicit Costs(std::span<const double> y) : n_(y.size()), rss_(n_ * (n_ + 1)) {
    for (std::size_t i = 0; i < n_; ++i) {
      double mean = 0, rss = 0;
      for (std::size_t j = i; j < n_; ++j) {  // Welford 1962: exactly 0 where all are equal
        const double from_old = y[j] - mean;
        mean += from_old / static_cast<double>(j - i + 1);
        rss += from_old * (y[j] - mean);
        rss_[i * (n_ + 1) + j + 1] = rss;
      }
    }
  }
  double operator()(std::size_t i, std::size_t j) const { return rss_[i * (n_ + 1) + j]; }

 private:
  std::size_t n_;
  std::vector<double> rss_;
};

double mean_of(std::span<const double> y) {
  double mean = 0, count = 0;
  for (const double value : y) mean += (value - mean) / ++count;
  return mean;
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

}  // namespace

std::vector<Fit> best_fits(std::span<const double> y, std::size_t most) {
  const std::size_t n = y.size();
  const Costs cost(y);
  // of y[0, j) by number of changes: the least rss, and where its last segment begins
  std::vector<std::vector<double>> least(1);
  std::vector<std::vector<std::size_t>> last(1, std::vector<std::size_t>(n + 1, 0));
  for (std::size_t j = 0; j <= n; ++j) least[0].push_back(j == 0 ? kInfinity : cost(0, j));
  std::vector<Fit> fits{{.rss = least[0][n], .begins = {0}}};
  for (std::size_t m = 1; m <= most && kLeastSegment * (m + 1) <= n; ++m) {
    least.emplace_back(n + 1, kInfinity);
    last.emplace_back(n + 1, 0);
    for (std::size_t j = kLeastSegment * (m + 1); j <= n; ++j) {
      for (std::size_t i = kLeastSegment * m; i + kLeastSegment <= j; ++i) {
        const double rss = least[m - 1][i] + cost(i, j);
        if (rss < least[m][j]) {
          least[m][j] = rss;
          last[m][j] = i;
        }
      }
    }
    Fit fit = {.rss = least[m][n], .begins = std::vector<std::size_t>(m + 1)};
    for (std::size_t k = m, end = n; k > 0; --k) fit.begins[k] = end = last[k][end];
    fits.push_back(std::move(fit));
  }
  return fits;
}

double evidence_ratio(std::size_t points, std::size_t changes) {
  if (changes == 0) return 1;
  const auto n = static_cast<double>(points), m = static_cast<double>(changes);
  double log_count = 0;  // of C(n-m-2, m)
  for (double k = 1; k <= m; ++k) log_count += std::log((n - 2 * m - 2 + k) / k);
  return boost::math::ibeta_inv((n - 1 - m) / 2, m / 2, std::exp(m * std::log(kAlpha) - log_count));
}

std::vector<double> without_outliers(std::span<const double> y) {
  std::vector<double> kept(y.begin(), y.end());
  if (y.size() < 3) return kept;
  std::vector<double> jumps;
  for (std::size_t i = 1; i < y.size(); ++i) jumps.push_back(std::abs(y[i] - y[i - 1]));
  // a jump has √2 σ, and the median of |N(0, 1)| is 0.6745
  const double limit = 5 * median(std::move(jumps)) / (std::sqrt(2.0) * 0.6745);
  for (std::size_t i = 0; i < y.size(); ++i) {
    // at an end the two next to it, lest the one beside an outlier be taken for it
    const double one = y[i == 0 ? 2 : i - 1], other = y[i + 1 == y.size() ? i - 2 : i + 1];
    const auto [low, high] = std::minmax(one, other);
    if (y[i] > high + limit) kept[i] = high;
    if (y[i] < low - limit) kept[i] = low;
  }
  return kept;
}

std::vector<Segment> segments(std::span<const double> y) {
  const auto bad = std::ranges::find_if(y, [](double value) { return !std::isfinite(value); });
  if (bad != y.end())
    throw std::invalid_argument(fmt::format("change points: value {} is {}", bad - y.begin(), *bad));
  const std::size_t n = y.size();
  if (n == 0) return {};
  std::vector<double> robust(y.begin(), y.end());
  if (n >= 2 * kLeastSegment && evidence_ratio(n, 1) >= 0.45) robust = without_outliers(y);

  const std::vector<Fit> fits = best_fits(robust, kMostChanges);
  std::size_t best = 0;
  double least = fits[0].rss;
  for (std::size_t m = 1; m < fits.size(); ++m) {
    const double rated = fits[m].rss / evidence_ratio(n, m);
    if (rated < least) {
      least = rated;
      best = m;
    }
  }
  std::vector<Segment> found;
  const std::vector<std::size_t>& begins = fits[best].begins;
  for (std::size_t k = 0; k < begins.size(); ++k) {
    const std::size_t end = k + 1 < begins.size() ? begins[k + 1] : n;
    found.push_back({.begin = begins[k],
                     .size = end - begins[k],
                     .mean = mean_of(std::span(robust).subspan(begins[k], end - begins[k]))});
  }
  return found;
}

}  // namespace ringside
