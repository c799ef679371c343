#include "harness/history/change_points.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numbers>
#include <random>
#include <stdexcept>

namespace ringside {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

/// Gaussian noise, the same everywhere (std::normal_distribution is not).
class Noise {
 public:
  explicit Noise(std::uint64_t seed) : bits_(seed) {}
  double uniform() { return (static_cast<double>(bits_() >> 11) + 0.5) * 0x1p-53; }
  double operator()() {  // Box and Muller
    const double radius = std::sqrt(-2 * std::log(uniform()));
    return radius * std::cos(2 * std::numbers::pi * uniform());
  }

 private:
  std::mt19937_64 bits_;
};

std::vector<double> noise(std::size_t n, Noise& source, double sigma = 0.01) {
  std::vector<double> y(n);
  std::ranges::generate(y, [&] { return sigma * source(); });
  return y;
}

std::vector<double> add(std::vector<double> y, std::size_t from, double step) {
  for (std::size_t i = from; i < y.size(); ++i) y[i] += step;
  return y;
}

std::vector<std::size_t> begins(std::span<const double> y) {
  std::vector<std::size_t> all;
  for (const Segment& s : segments(y)) all.push_back(s.begin);
  return all;
}

double rss_of(std::span<const double> y, const std::vector<std::size_t>& starts) {
  double rss = 0;
  for (std::size_t k = 0; k < starts.size(); ++k) {
    const std::size_t end = k + 1 < starts.size() ? starts[k + 1] : y.size();
    const auto part = y.subspan(starts[k], end - starts[k]);
    double mean = 0;
    for (const double v : part) mean += v / static_cast<double>(part.size());
    for (const double v : part) rss += (v - mean) * (v - mean);
  }
  return rss;
}

/// Calls take(starts) for each segmentation of n points with segments of at least two.
void each_segmentation(std::size_t n, const std::function<void(const std::vector<std::size_t>&)>& take) {
  for (std::uint32_t cuts = 0; cuts < 1U << (n - 1); ++cuts) {  // bit i: a segment begins at i+1
    std::vector<std::size_t> starts{0};
    bool long_enough = true;
    for (std::size_t i = 1; i < n; ++i) {
      if ((cuts >> (i - 1) & 1) == 0) continue;
      long_enough = long_enough && i - starts.back() >= kLeastSegment;
      starts.push_back(i);
    }
    if (long_enough && n - starts.back() >= kLeastSegment) take(starts);
  }
}

TEST(BestFits, AreTheBestOfAllSegmentations) {
  Noise source(1);
  for (std::size_t n = 2; n <= 13; ++n) {
    for (int repeat = 0; repeat < 5; ++repeat) {
      const std::vector<double> y = add(noise(n, source, 1), n / 2, repeat);
      std::vector<double> least(n, std::numeric_limits<double>::infinity());
      std::vector<double> count(n, 0);
      each_segmentation(n, [&](const auto& starts) {
        least[starts.size() - 1] = std::min(least[starts.size() - 1], rss_of(y, starts));
        ++count[starts.size() - 1];
      });
      const std::vector<Fit> fits = best_fits(y, n);
      ASSERT_EQ(fits.size(), n / kLeastSegment);
      for (std::size_t m = 0; m < fits.size(); ++m) {
        // sums of n squares, each within a few roundings
        const double rounding = 1e-14 * static_cast<double>(n) * (1 + least[0]);
        EXPECT_NEAR(fits[m].rss, least[m], rounding) << n << " points, " << m << " changes";
        EXPECT_NEAR(rss_of(y, fits[m].begins), least[m], rounding);
        // the count that the threshold is derived with
        const double of_formula = std::round(std::exp(std::lgamma(static_cast<double>(n - m - 1)) -
                                                      std::lgamma(static_cast<double>(m + 1)) -
                                                      std::lgamma(static_cast<double>(n - 2 * m - 1))));
        EXPECT_EQ(count[m], of_formula) << n << " points, " << m << " changes";
      }
    }
  }
}

/// P(rss_1 / rss_0 <= r) of a chosen split into two is that of a t test: r = 1 / (1 + t²/(n-2)). Two-sided
/// quantiles of Student's t with 2 and 8 degrees of freedom at 0.001 / 1 and 0.001 / 7 (scipy 1.10,
/// t.isf(p / 2, df)).
TEST(EvidenceRatio, IsThatOfATTest) {
  EXPECT_EQ(evidence_ratio(10, 0), 1);
  EXPECT_NEAR(evidence_ratio(4, 1), 1 / (1 + 31.59905457703977 * 31.59905457703977 / 2), 1e-9);
  EXPECT_NEAR(evidence_ratio(10, 1), 1 / (1 + 6.764892607454989 * 6.764892607454989 / 8), 1e-9);
  for (std::size_t n = 6; n < 200; ++n) {  // more changes take more evidence
    for (std::size_t m = 1; m < std::min(n / 2 - 1, kMostChanges); ++m) {
      ASSERT_LT(evidence_ratio(n, m + 1), evidence_ratio(n, m)) << n << " " << m;
    }
  }
}

/// The bound is on every length; the count over many series lies within 4 standard deviations of a binomial
/// above it, if it is right. The lower end says that the test sees alarms at all: the union bound is not
/// that loose.
TEST(Segments, OfNoiseAreOneMoreOftenThanTheBound) {
  constexpr int kSeries = 10000;
  int all = 0;
  for (const std::size_t n : {4UL, 5UL, 7UL, 10UL, 16UL, 26UL}) {
    Noise source(100 + n);
    int alarms = 0;
    for (int s = 0; s < kSeries; ++s) alarms += segments(noise(n, source)).size() > 1;
    const double expected = kSeries * kFalseAlarms;
    EXPECT_LE(alarms, expected + 4 * std::sqrt(expected)) << n << " points";
    RecordProperty("alarms_at_" + std::to_string(n), alarms);
    all += alarms;
  }
  EXPECT_GT(all, 6 * kSeries * kFalseAlarms / 10);
}

TEST(Segments, FindAStepAtItsPlace) {
  Noise source(2);
  int exact = 0, total = 0;
  for (std::size_t n : {8UL, 14UL, 30UL, 60UL}) {
    for (std::size_t at = 2; at + 2 <= n; at += 3) {
      for (const double step : {0.15, -0.15}) {  // 15 standard deviations: 7.5 from either mean
        const std::vector<double> y = add(noise(n, source), at, step);
        ++total;
        exact += begins(y) == std::vector<std::size_t>{0, at};
      }
    }
  }
  // none of them is lost, none is misplaced, but a further one may be found
  EXPECT_GE(exact, total - 1) << "of " << total;
}

TEST(Segments, HaveTheMeansOfTheirPoints) {
  const std::vector<Segment> found = segments(std::vector{1.0, 2.0, 1.5, 100.0, 101.0, 102.0, 99.0});
  ASSERT_EQ(found.size(), 2U);
  EXPECT_THAT(found[0].mean, DoubleNear(1.5, 1e-12));
  EXPECT_THAT(found[1].mean, DoubleNear(100.5, 1e-12));
  EXPECT_EQ(found[1].begin, 3U);
  EXPECT_EQ(found[0].size, 3U);
  EXPECT_EQ(found[1].size, 4U);
}

TEST(Segments, FindTwoSteps) {
  Noise source(3);
  for (int repeat = 0; repeat < 20; ++repeat) {
    EXPECT_THAT(begins(add(add(noise(24, source), 8, 0.2), 15, -0.1)), ElementsAre(0, 8, 15));
    EXPECT_THAT(begins(add(add(noise(24, source), 8, 0.2), 22, 0.2)), ElementsAre(0, 8, 22));
  }
}

/// A real change must not bring others along: the bound is on noise alone, but the weights α^m / N ask of the
/// second change what they ask of the first.
TEST(Segments, AStepBringsNoFurtherOnes) {
  Noise source(4);
  constexpr int kSeries = 4000;
  int more = 0;
  for (int s = 0; s < kSeries; ++s) more += segments(add(noise(20, source), 11, 0.3)).size() > 2;
  const double expected = kSeries * kFalseAlarms;
  EXPECT_LE(more, expected + 4 * std::sqrt(expected));
}

/// 1% a point under noise of 1%: neither end has the mean of the other.
TEST(Segments, FollowADrift) {
  Noise source(5);
  for (int repeat = 0; repeat < 20; ++repeat) {
    std::vector<double> y = noise(30, source);
    for (std::size_t i = 0; i < y.size(); ++i) y[i] += 0.01 * static_cast<double>(i);
    const std::vector<Segment> found = segments(y);
    ASSERT_GT(found.size(), 1U);
    for (std::size_t k = 1; k < found.size(); ++k) EXPECT_GT(found[k].mean, found[k - 1].mean);
    EXPECT_GT(found.back().mean - found.front().mean, 0.1);
  }
}

/// As often as by the noise that is left without it.
TEST(Segments, AreNotMadeByOneOutlier) {
  Noise source(6);
  double series = 0, alarms = 0;
  for (const std::size_t n : {6UL, 12UL, 16UL, 17UL, 20UL, 29UL, 30UL, 31UL, 50UL, 100UL, 200UL}) {
    for (const std::size_t at : {0UL, 1UL, n / 2, n - 2, n - 1}) {
      for (const double height : {0.2, 3.0, -1.0}) {
        std::vector<double> y = noise(n, source);
        y[at] += height;
        ++series;
        alarms += begins(y).size() > 1;
      }
    }
  }
  EXPECT_LE(alarms, kFalseAlarms * series + 4 * std::sqrt(kFalseAlarms * series));
}

TEST(Segments, AreMadeByTwoPoints) {
  Noise source(7);
  EXPECT_THAT(begins(add(noise(60, source), 58, 0.2)), ElementsAre(0, 58));
  EXPECT_THAT(begins(add(add(noise(60, source), 30, 0.2), 32, -0.2)), ElementsAre(0, 30, 32));
}

/// Outliers here and there hide no step.
TEST(Segments, SeeThroughOutliers) {
  Noise source(8);
  std::vector<double> y = add(noise(60, source), 40, 0.1);
  for (const std::size_t at : {5UL, 17UL, 33UL, 52UL}) y[at] += 1;
  EXPECT_THAT(begins(y), ElementsAre(0, 40));
}

TEST(WithoutOutliers, PutsThemToTheNearerNeighbour) {
  std::vector<double> y{0, 1, 0, 1, 50, 0, 1, 0, 1, 0, -40, 0, 30};
  EXPECT_THAT(without_outliers(y), ElementsAre(0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 0, 0, 0));
  y = {0, 1, 0, 1, 0, 50, 51, 50, 51, 50};  // a step is none
  EXPECT_EQ(without_outliers(y), y);
  EXPECT_THAT(without_outliers(std::vector{1.0, 9.0}), ElementsAre(1, 9));
}

TEST(Segments, OfShortSeriesAreOne) {
  EXPECT_THAT(segments({}), IsEmpty());
  EXPECT_THAT(begins(std::vector{1.0}), ElementsAre(0));
  EXPECT_THAT(begins(std::vector{1.0, 9.0}), ElementsAre(0));
  EXPECT_THAT(begins(std::vector{1.0, 1.0, 9.0}), ElementsAre(0));
  EXPECT_THAT(begins(std::vector{1.0, 1.0, 9.0, 9.0}), ElementsAre(0, 2));  // no noise at all
}

TEST(Segments, OfEqualValues) {
  for (const double value : {0.0, std::log(0.0121), 1e300}) {
    EXPECT_THAT(begins(std::vector<double>(50, value)), ElementsAre(0));
  }
  std::vector<double> y(50, std::log(0.0121));
  std::fill(y.begin() + 7, y.end(), std::log(0.0131));
  EXPECT_THAT(begins(y), ElementsAre(0, 7));
  std::fill(y.begin() + 31, y.end(), std::log(0.0121));
  EXPECT_THAT(begins(y), ElementsAre(0, 7, 31));
  y[20] = 9;
  EXPECT_THAT(begins(y), ElementsAre(0, 7, 31));
}

TEST(Segments, RefuseWhatIsNotFinite) {
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(),
                           -std::numeric_limits<double>::infinity()}) {
    EXPECT_THROW(segments(std::vector{1.0, bad, 2.0, 3.0}), std::invalid_argument);
    EXPECT_THROW(segments(std::vector{bad}), std::invalid_argument);
  }
}

/// As many as are looked for, and a long series.
TEST(Segments, OfALongSeries) {
  Noise source(9);
  std::vector<double> y = noise(1000, source);
  for (std::size_t from = 20; from < 820; from += 20)
    y = add(std::move(y), from, from % 40 == 0 ? 0.5 : -0.5);
  const std::vector<std::size_t> found = begins(y);
  ASSERT_EQ(found.size(), kMostChanges + 1);
  for (std::size_t k = 0; k < found.size(); ++k) EXPECT_EQ(found[k], 20 * k);
}

}  // namespace
}  // namespace ringside
