// Figures of one head: those of the definitions, and each remarkable element is seen wherever it stands.
#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "harness/judge/compare.h"
#include "harness/results/throughput.h"
#include "reference/oracle_common.h"

namespace ringside {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// One head of o, 3 tokens, token i held by rank i; dims that vector lanes do not divide. Every value is half
/// its bound away from the reference, up and down in turns.
struct Head {
  static constexpr Index kTokens = 3, kDims = 19;
  Problem problem;
  std::vector<float> values;
  std::vector<double> expected, storage;
  std::vector<float> error;
  std::vector<int> holder = {0, 1, 2};
  std::vector<RankStats> ranks = std::vector<RankStats>(3);

  Head() {
    problem.seq = kTokens;
    problem.value_dim = kDims;
    for (int i = 0; i < kTokens * kDims; ++i) {
      expected.push_back(i % 5 - 2);  // zeros among them
      error.push_back(static_cast<float>(1 + i % 3));
      storage.push_back(std::abs(expected.back()));
      values.push_back(
          static_cast<float>(expected.back() + (i % 2 ? 0.5 : -0.5) * bound(expected.size() - 1)));
    }
  }
  // powers of two: every value is exact
  double bound(std::size_t i) const { return 0.125 * double{error[i]} + 0.0625 * storage[i] + 0.03125; }
  TensorStats measured() {
    ranks.assign(3, {});
    return measure({.problem = problem,
                    .out = Out::o,
                    .batch = 5,
                    .head = 7,
                    .values = values,
                    .expected = {.value = expected, .error = error, .storage = storage, .floor = 0.03125},
                    .rounding = {0.125, 0.0625},
                    .holder = holder,
                    .first_rank = 4,
                    .yardstick = {},
                    .either = {}},
                   ranks);
  }
};

TEST(Measure, SumsAreThoseOfTheDefinitions) {
  Head head;
  const TensorStats stats = head.measured();
  double max_abs = 0, sum_abs = 0, error2 = 0, ref2 = 0, x_ref = 0, certain = 0, store = 0;
  std::int64_t zeros = 0, telling = 0;
  for (std::size_t i = 0; i < head.values.size(); ++i) {
    const double ref = head.expected[i], x = static_cast<double>(head.values[i]), error = std::abs(x - ref);
    max_abs = std::max(max_abs, error);
    sum_abs += error;
    error2 += error * error;
    ref2 += ref * ref;
    x_ref += x * ref;
    certain += (0.125 * double{head.error[i]} + 0.03125) * std::abs(ref);
    store += 0.0625 * head.storage[i] * std::abs(ref);
    zeros += ref == 0;
    telling += std::abs(ref) > head.bound(i);
  }
  // all sums are of small multiples of powers of two: exact in any order
  EXPECT_EQ(stats[Count::elements], Head::kTokens * Head::kDims);
  EXPECT_EQ(stats.max_abs, max_abs);
  EXPECT_EQ(stats[Sum::abs], sum_abs);
  EXPECT_EQ(stats[Sum::error2], error2);
  EXPECT_EQ(stats[Sum::ref2], ref2);
  EXPECT_EQ(stats[Sum::x_ref], x_ref);
  EXPECT_EQ(stats[Sum::slope_certain], certain);
  EXPECT_EQ(stats[Sum::slope_store], store);
  EXPECT_EQ(stats[Count::zeros], zeros);
  EXPECT_EQ(stats[Count::telling], telling);
  EXPECT_EQ(stats.max_share, 0.5);
  EXPECT_EQ(stats[Count::failed] + stats[Count::pattern_errors] + stats[Count::nonfinite], 0);
  EXPECT_EQ(head.ranks[0].sum_error2 + head.ranks[1].sum_error2 + head.ranks[2].sum_error2, error2);
  EXPECT_EQ(head.ranks[0].sum_ref2 + head.ranks[1].sum_ref2 + head.ranks[2].sum_ref2, ref2);
}

TEST(Measure, OneElementBeyondItsBoundIsSeenWhereverItStands) {
  for (std::size_t at = 0; at < Head().values.size(); ++at) {
    Head head;
    head.values[at] = static_cast<float>(head.expected[at] + 1.25 * head.bound(at));
    const TensorStats stats = head.measured();
    const auto token = static_cast<Index>(at) / Head::kDims, dim = static_cast<Index>(at) % Head::kDims;
    EXPECT_EQ(stats[Count::failed], 1) << at;
    EXPECT_EQ(stats.max_share, 1.25) << at;
    EXPECT_EQ(stats.worst.token, token) << at;
    EXPECT_EQ(stats.worst.dim, dim) << at;
    EXPECT_EQ(stats.worst.rank, 4 + token) << at;
    EXPECT_EQ(stats.worst.batch, 5);
    EXPECT_EQ(stats.worst.head, 7);
    EXPECT_EQ(head.ranks[static_cast<std::size_t>(token)].failed, 1) << at;
  }
}

TEST(Measure, NaNAndInfinityFailWhereverTheyStand) {
  for (std::size_t at = 0; at < Head().values.size(); ++at) {
    for (const double bad : {kNaN, kInfinity, -kInfinity}) {
      Head head;
      head.values[at] = static_cast<float>(bad);
      const TensorStats stats = head.measured();
      EXPECT_EQ(stats[Count::failed], 1) << at;
      EXPECT_EQ(stats[Count::pattern_errors], 1) << at;
      EXPECT_EQ(stats.max_share, kInfinity) << at;

      head = Head();
      head.expected[at] = bad;
      head.error[at] = std::numeric_limits<float>::infinity();  // an infinite bound excuses nothing
      const TensorStats missing = head.measured();
      EXPECT_EQ(missing[Count::failed], 1) << at;
      EXPECT_EQ(missing[Count::pattern_errors], 1) << at;
      EXPECT_EQ(missing[Count::nonfinite], 1) << at;

      head.values[at] = static_cast<float>(bad);
      const TensorStats right = head.measured();
      EXPECT_EQ(right[Count::failed], 0) << at;
      EXPECT_EQ(right[Count::nonfinite], 1) << at;
      EXPECT_EQ(right[Count::elements], Head::kTokens * Head::kDims - 1) << at;
    }
  }
}

TEST(Measure, ABoundThatIsNaNFails) {
  for (std::size_t at = 0; at < Head().values.size(); ++at) {
    Head head;
    head.error[at] = std::numeric_limits<float>::quiet_NaN();
    EXPECT_EQ(head.measured()[Count::failed], 1) << at;
  }
}

TEST(Measure, TheDigestSeesEveryBitAndTheOrder) {
  const std::uint64_t digest = Head().measured().digest;
  for (std::size_t at = 0; at < Head().values.size(); ++at) {
    Head head;
    head.values[at] = std::nextafter(head.values[at], 100.0F);
    EXPECT_NE(head.measured().digest, digest) << at;
    head = Head();
    if (head.values[at] == head.values[at == 0 ? 1 : 0]) continue;
    std::swap(head.values[at], head.values[at == 0 ? 1 : 0]);
    EXPECT_NE(head.measured().digest, digest) << at;
  }
}

TEST(UsefulWork, CountsThePairsThatAreSeen) {
  for (const std::vector<Index>& bounds : {std::vector<Index>{}, {0, 1, 2, 20, 33}, {0, 50}}) {
    for (const Index window : {0, 1, 7, 20, 100}) {
      for (const bool causal : {true, false}) {
        if (window > 0 && !causal) continue;
        const Problem problem = {.seq = 50, .causal = causal, .window = window, .cu_seqlens = bounds};
        double pairs = 0;
        for (Index query = 0; query < problem.seq; ++query) {
          pairs += static_cast<double>(keys_seen(problem, query).count());
        }
        EXPECT_EQ(visible_pairs(problem), pairs) << bounds.size() << ' ' << window << ' ' << causal;
      }
    }
  }
}

}  // namespace
}  // namespace ringside
