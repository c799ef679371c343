// Who computes how much: the pairs (query, key) that each rank asks its device for. No time is measured.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <numeric>

#include "harness/mutants/mutant.h"
#include "harness/run/device_decorator.h"
#include "harness/run/device_entry.h"
#include "harness/run/subject.h"

namespace ringside {
namespace {

/// Of all query heads, in one pass.
using Pairs = std::vector<Index>;  // a rank's each

Index seen_pairs(const SoftmaxBlock& block) {
  Index pairs = 0;
  for (const Run& queries : block.q_positions) {
    for (const Run& keys : block.k_positions) {
      for (Index i = 0; i < queries.count; ++i) {
        for (Index j = 0; j < keys.count; ++j) {
          pairs += !block.mask.causal || keys.position(j) <= queries.position(i) ? 1 : 0;
        }
      }
    }
  }
  return pairs * block.q.shape().heads;
}

struct CountsPairs : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  static inline std::mutex mutex{};
  static inline std::map<int, Index> forward{}, backward{};  // by rank

  void softmax_forward(const SoftmaxBlock& b, const Tensor& o, const Tensor& lse) override {
    count(forward, b);
    real_.softmax_forward(b, o, lse);
  }
  void softmax_backward(const SoftmaxBlock& b, const Tensor& dout, const Tensor& lse, const Tensor& delta,
                        const Tensor& dq, const Tensor& dk, const Tensor& dv) override {
    count(backward, b);
    real_.softmax_backward(b, dout, lse, delta, dq, dk, dv);
  }
  void count(std::map<int, Index>& pairs, const SoftmaxBlock& b) const {
    const std::lock_guard lock(mutex);
    pairs[rank_] += seen_pairs(b);
  }
};

/// What each rank asks for in forward; in backward it is the same.
Pairs pairs_of(const Variant& variant, Index seq, int sp, Index heads = 1, bool causal = true) {
  const Case c = {.variant = variant.name,
                  .seq = seq,
                  .heads = heads,
                  .kv_heads = heads,
                  .head_dim = 3,
                  .value_dim = 2,
                  .sp = sp,
                  .causal = causal};
  CountsPairs::forward.clear();
  CountsPairs::backward.clear();
  Fleet fleet = Fleet::of_threads(std::nullopt, std::chrono::seconds(60));
  run_ranks_here({device_entry("cpu"), fleet}, {c, on_device<CountsPairs>(variant)});
  EXPECT_EQ(CountsPairs::forward, CountsPairs::backward) << c.name();
  Pairs pairs;
  for (int rank = 0; rank < sp; ++rank) pairs.push_back(CountsPairs::forward[rank]);
  return pairs;
}

Pairs pairs_of(const std::string& name, Index seq, int sp) {
  return pairs_of(*find_variant(name, Operator::softmax), seq, sp);
}

TEST(Balance, EveryVariantComputesEachPairOnce) {
  const Index heads = 24;
  int ran = 0;
  for (const Variant* variant : softmax_variants()) {
    for (const int sp : {1, 2, 3, 6, 8}) {
      for (const Index seq : {5, 53}) {
        for (const bool causal : {true, false}) {
          if (variant->unsupported({.heads = heads, .kv_heads = heads, .seq = seq, .causal = causal}, sp)) {
            continue;
          }
          const Pairs pairs = pairs_of(*variant, seq, sp, heads, causal);
          EXPECT_EQ(std::accumulate(pairs.begin(), pairs.end(), Index{0}),
                    heads * (causal ? seq * (seq + 1) / 2 : seq * seq))
              << fmt::format("{}, {} ranks, {} tokens", variant->name, sp, seq);
          ++ran;
        }
      }
    }
  }
  EXPECT_GE(ran, 80);
}

// Of P chunks of C tokens rank r sees its own and r whole ones: P/(2P-1) of perfect as C grows.
TEST(Balance, PlainRingGivesTheLastRankMost) {
  for (const int sp : {1, 2, 3, 4, 8}) {
    const Index chunk = 6;
    Pairs expected;
    for (int rank = 0; rank < sp; ++rank) expected.push_back(chunk * (chunk + 1) / 2 + rank * chunk * chunk);
    EXPECT_EQ(pairs_of("ring", chunk * sp, sp), expected);
  }
}

TEST(Balance, ZigzagIsEqual) {
  for (const int sp : {1, 2, 3, 4, 8}) {
    const Index seq = 2 * sp * 5;
    EXPECT_THAT(pairs_of("ring_zigzag", seq, sp), testing::Each(seq * (seq + 1) / (2 * sp)));
  }
}

TEST(Balance, StripesDifferByAtMostPMinusOneTimesChunk) {
  for (const int sp : {1, 2, 3, 4, 8}) {
    const Index chunk = 7;
    Pairs expected;
    for (Index rank = 0; rank < sp; ++rank) {
      expected.push_back((rank + 1) * chunk * (chunk + 1) / 2 + (sp - 1 - rank) * chunk * (chunk - 1) / 2);
    }
    EXPECT_EQ(pairs_of("ring_striped", chunk * sp, sp), expected);
    EXPECT_EQ(expected.back() - expected.front(), (sp - 1) * chunk);
  }
}

// Beside its own causal block a rank computes P/2 whole ones; in the lower half of an even P, one less.
TEST(Balance, BalancedDiffersByOneBlockAndNotAtAllIfRanksAreOdd) {
  for (const int sp : {1, 2, 3, 4, 5, 6, 7, 8}) {
    const Index chunk = 7;
    Pairs expected;
    for (int rank = 0; rank < sp; ++rank) {
      const Index blocks = sp % 2 == 0 && rank < sp / 2 ? sp / 2 - 1 : sp / 2;
      expected.push_back(chunk * (chunk + 1) / 2 + blocks * chunk * chunk);
    }
    EXPECT_EQ(pairs_of("balanced", chunk * sp, sp), expected) << sp << " ranks";
  }
}

}  // namespace
}  // namespace ringside
