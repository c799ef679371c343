#include "harness/base/statistics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <random>
#include <sstream>
#include <stdexcept>

#include "harness/testing/process.h"

namespace ringside {
namespace {

using Values = std::vector<double>;

/// 1 … n, the ranks in `contrary` negative.
Values ranks(int n, const std::vector<int>& contrary = {}) {
  Values x;
  for (int rank = 1; rank <= n; ++rank) x.push_back(std::ranges::count(contrary, rank) ? -rank : rank);
  return x;
}

TEST(Median, IsTheMiddleOrTheMeanOfTwo) {
  EXPECT_EQ(median(Values{3}), 3);
  EXPECT_EQ(median(Values{3, 1, 2}), 2);
  EXPECT_EQ(median(Values{4, 1, 3, 2}), 2.5);
  EXPECT_THROW(median(Values{}), std::invalid_argument);
}

TEST(Percentile, IsANearestRank) {
  EXPECT_EQ(percentile(Values{7}, 0.95), 7);
  Values x(20);
  std::iota(x.rbegin(), x.rend(), 1);  // 20 … 1
  EXPECT_EQ(percentile(x, 0.95), 19);  // 0.95·20 = 19, though a rounding error above it in binary
  EXPECT_EQ(percentile(x, 0.951), 20);
  EXPECT_EQ(percentile(x, 0.05), 1);
  EXPECT_EQ(percentile(x, 1), 20);
  x.pop_back();
  EXPECT_EQ(percentile(x, 0.95), 20);  // of fewer than 20 it is the largest
  EXPECT_THROW(percentile(Values{}, 0.5), std::invalid_argument);
}

TEST(SignedRank, HasClosedValues) {
  EXPECT_EQ(signed_rank_p(Values{}), 1);
  EXPECT_EQ(signed_rank_p(Values{0, 0}), 1);
  EXPECT_EQ(signed_rank_p(Values{1}), 0.5);
  EXPECT_EQ(signed_rank_p(Values{-1}), 1);
  EXPECT_EQ(signed_rank_p(ranks(5)), 1.0 / 32);
  EXPECT_EQ(signed_rank_p(ranks(7)), 1.0 / 128);
  EXPECT_EQ(signed_rank_p(ranks(9)), 1.0 / 512);
  EXPECT_EQ(signed_rank_p(ranks(15)), 1.0 / 32768);
}

/// What the two stages attain: the largest p that passes 0.05 and 0.001, and the next one, which does not.
TEST(SignedRank, AttainsTheSizesOfTheStages) {
  for (const auto& three : {ranks(7, {3}), ranks(7, {1, 2})}) EXPECT_EQ(signed_rank_p(three), 5.0 / 128);
  EXPECT_EQ(signed_rank_p(ranks(7, {4})), 7.0 / 128);  // 0.055
  EXPECT_EQ(signed_rank_p(ranks(15, {8})), 25.0 / 32768);
  EXPECT_EQ(signed_rank_p(ranks(15, {1, 3, 4})), 25.0 / 32768);
  EXPECT_EQ(signed_rank_p(ranks(15, {9})), 33.0 / 32768);  // 0.00101
}

TEST(SignedRank, LeavesZerosOutAndSharesTiedRanks) {
  EXPECT_EQ(signed_rank_p(Values{0, 1, 2, 0, 3}), 1.0 / 8);
  EXPECT_EQ(signed_rank_p(Values{-0.0, 1}), 0.5);
  EXPECT_EQ(signed_rank_p(Values{1, 1, 1}), 1.0 / 8);
  EXPECT_EQ(signed_rank_p(Values{1, -1}), 0.75);        // ranks 1.5: sums 0, 1.5, 1.5, 3
  EXPECT_EQ(signed_rank_p(Values{2, 2, -2, 5}), 0.25);  // ranks 2, 2, 2, 4: 10 once, 8 three times, 6 …
  EXPECT_EQ(signed_rank_p(Values(15, 0.1)), 1.0 / 32768);
}

/// The two sides' p add up to 1 and the share of the value itself.
TEST(SignedRank, IsSymmetric) {
  const Values x = ranks(10, {2, 7, 9});
  Values y;
  for (const double v : x) y.push_back(-v);
  EXPECT_GT(signed_rank_p(x) + signed_rank_p(y), 1);
  EXPECT_LT(signed_rank_p(x) + signed_rank_p(y), 1.05);
  EXPECT_LT(signed_rank_p(x), 0.5);
}

TEST(MedianInterval, HasTheEndsThatTheHeaderNames) {
  const Values x15 = ranks(15), x7 = ranks(7);
  EXPECT_EQ(median_interval(x15, 0.95).low, 4);
  EXPECT_EQ(median_interval(x15, 0.95).high, 12);
  EXPECT_EQ(median_interval(x7, 0.95).low, 2);
  EXPECT_EQ(median_interval(x7, 0.95).high, 6);
  EXPECT_EQ(median_interval(Values{5}, 0.95).low, 5);
  EXPECT_EQ(median_interval(Values{5}, 0.95).high, 5);
  EXPECT_THROW(median_interval(ranks(4), 0.95), std::invalid_argument);
  EXPECT_THROW(median_interval(Values{}, 0.95), std::invalid_argument);
}

TEST(MedianInterval, IsNotMovedByAnOutlier) {
  Values x = ranks(15);
  const ConfidenceInterval before = median_interval(x, 0.95);
  x.back() = 1e6;
  EXPECT_EQ(median_interval(x, 0.95).low, before.low);
  EXPECT_EQ(median_interval(x, 0.95).high, before.high);
}

TEST(Shuffled, IsAPermutationThatTheSeedRepeats) {
  std::vector<std::size_t> order = shuffled(40, 7);
  EXPECT_EQ(order, shuffled(40, 7));
  EXPECT_NE(order, shuffled(40, 8));
  EXPECT_NE(order, shuffled(40, 7 + (1ULL << 32)));
  std::ranges::sort(order);
  for (std::size_t i = 0; i < order.size(); ++i) EXPECT_EQ(order[i], i);
  EXPECT_TRUE(shuffled(0, 7).empty());
  EXPECT_EQ(shuffled(1, 7).size(), 1U);
}

/// All 6 orders of 3, each as often as chance has it: a share of 6000 has a standard deviation of 29.
TEST(Shuffled, IsFair) {
  std::map<std::vector<std::size_t>, int> seen;
  for (std::uint64_t seed = 0; seed < 6000; ++seed) ++seen[shuffled(3, seed)];
  ASSERT_EQ(seen.size(), 6U);
  for (const auto& [order, count] : seen) EXPECT_NEAR(count, 1000, 5 * 29);
}

/// Samples without ties, with ties and zeros, and like log-ratios of rounds; odd sizes up to 15.
std::vector<Values> samples() {
  std::mt19937_64 random(8);
  const auto uniform = [&] { return static_cast<double>(random() >> 11) * 0x1p-53; };
  std::vector<Values> all;
  for (const int n : {1, 3, 5, 7, 15}) {
    for (int i = 0; i < 6; ++i) {
      Values free, tied;
      for (int j = 0; j < n; ++j) {
        free.push_back(uniform() - 0.3);
        tied.push_back(std::floor(6 * uniform()) - 2);
      }
      all.push_back(std::move(free));
      all.push_back(std::move(tied));
    }
  }
  return all;
}

TEST(Statistics, AreThoseOfScipyAndOfEnumeration) {
  const TempFolder folder;
  std::ostringstream text;
  text.precision(17);
  for (const Values& sample : samples()) {
    for (const double x : sample) text << x << ' ';
    text << '\n';
  }
  const Outcome peer = run(std::string("exec /usr/bin/python3 ") + STATISTICS_PEER + " < " +
                           folder.write("samples", text.str()));
  if (peer.status == 77 || peer.status == 127) GTEST_SKIP() << "no python3 with scipy here: " << peer.out;
  ASSERT_EQ(peer.status, 0) << peer.err;
  std::istringstream in(peer.out);
  int with_scipy = 0;
  for (const Values& sample : samples()) {
    std::string line;
    ASSERT_TRUE(std::getline(in, line));
    std::istringstream words(line);
    Values of_peer;
    for (std::string word; words >> word;) of_peer.push_back(std::stod(word));
    ASSERT_EQ(of_peer.size(), 8U) << line;
    const double p = signed_rank_p(sample);
    if (!std::isnan(of_peer[0])) {
      ++with_scipy;
      EXPECT_NEAR(p, of_peer[0], 1e-12);
    }
    EXPECT_EQ(p, of_peer[1]);  // multiples of 2^-15
    const ConfidenceInterval interval = median_interval(sample, 0.95);
    EXPECT_EQ(interval.low, of_peer[2]);
    EXPECT_EQ(interval.high, of_peer[3]);
    // The ends are quantiles of drawn medians, whose shares have a standard deviation below
    // sqrt(0.025/20000)
    const double close = 5 * std::sqrt(0.025 / 20'000);
    EXPECT_LE(of_peer[4], 0.025 + close);
    EXPECT_GE(of_peer[5], 0.025 - close);
    EXPECT_LE(of_peer[6], 0.975 + close);
    EXPECT_GE(of_peer[7], 0.975 - close);
  }
  EXPECT_GE(with_scipy, 25);
}

}  // namespace
}  // namespace ringside
