#include "distributed/layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <numeric>
#include <stdexcept>
#include <vector>

namespace ringside {
namespace {

using testing::Each;
using testing::ElementsAre;

using Stretch = ringside::Run;  // in a test body, Run is a member of testing::Test

constexpr Layout kLayouts[] = {Layout::contiguous, Layout::zigzag, Layout::striped};
constexpr int kSizes[] = {1, 2, 3, 4, 5, 8};

Positions positions(Layout layout, Index seq, int size, int rank) {
  return ringside::positions(layout, {.seq = seq}, size, rank);
}

std::vector<Index> tokens(Layout layout, Index seq, int size, int rank) {
  std::vector<Index> all;
  for (const Stretch& run : positions(layout, seq, size, rank)) {
    for (Index i = 0; i < run.count; ++i) all.push_back(run.position(i));
  }
  return all;
}

/// (query, key) pairs with key <= query over all keys: what causal attention costs the rank's queries.
Index causal_pairs(Layout layout, Index seq, int size, int rank) {
  Index pairs = 0;
  for (const Index position : tokens(layout, seq, size, rank)) pairs += position + 1;
  return pairs;
}

TEST(Layout, EveryPositionIsHeldOnce) {
  for (const Layout layout : kLayouts) {
    for (const int size : kSizes) {
      for (Index seq = 0; seq <= 70; ++seq) {
        std::vector<int> holders(static_cast<std::size_t>(seq));
        for (int rank = 0; rank < size; ++rank) {
          const Positions runs = positions(layout, seq, size, rank);
          for (const Stretch& run : runs) EXPECT_GT(run.count, 0);
          Index held = 0;
          Index previous = -1;
          for (const Index position : tokens(layout, seq, size, rank)) {
            EXPECT_GT(position, previous);
            ++holders.at(static_cast<std::size_t>(position));
            previous = position;
            ++held;
          }
          EXPECT_EQ(count(runs), held);
          EXPECT_LE(held, (seq + size - 1) / size + (layout == Layout::zigzag ? 1 : 0));
        }
        EXPECT_THAT(holders, Each(1)) << to_string(layout) << ", " << seq << " tokens on " << size;
      }
    }
  }
}

TEST(Layout, ValuesOfTheTable) {
  EXPECT_THAT(positions(Layout::contiguous, 16, 4, 2), ElementsAre(Stretch{8, 1, 4}));
  EXPECT_THAT(positions(Layout::zigzag, 16, 4, 1), ElementsAre(Stretch{2, 1, 2}, Stretch{12, 1, 2}));
  EXPECT_THAT(positions(Layout::striped, 16, 4, 3), ElementsAre(Stretch{3, 4, 4}));
  EXPECT_THAT(positions(Layout::contiguous, 10, 4, 1), ElementsAre(Stretch{2, 1, 3}));
  EXPECT_THAT(positions(Layout::striped, 10, 4, 1), ElementsAre(Stretch{1, 4, 3}));
  EXPECT_THAT(positions(Layout::striped, 10, 4, 2), ElementsAre(Stretch{2, 4, 2}));
}

TEST(Layout, ZigzagHoldsItsLowChunkFirst) {
  EXPECT_THAT(tokens(Layout::zigzag, 12, 3, 0), ElementsAre(0, 1, 10, 11));
  EXPECT_THAT(tokens(Layout::zigzag, 12, 3, 2), ElementsAre(4, 5, 6, 7));
  EXPECT_THAT(positions(Layout::zigzag, 12, 3, 2), ElementsAre(Stretch{4, 1, 2}, Stretch{6, 1, 2}));
}

TEST(Layout, EmptyRunsAreLeftOut) {
  EXPECT_TRUE(positions(Layout::contiguous, 0, 1, 0).empty());
  EXPECT_TRUE(positions(Layout::striped, 3, 8, 3).empty());
  EXPECT_THAT(positions(Layout::zigzag, 1, 1, 0), ElementsAre(Stretch{0, 1, 1}));
}

TEST(Layout, ZigzagSharesCausalWorkEqually) {
  for (const int size : kSizes) {
    const Index seq = 2 * size * 3;
    for (int rank = 0; rank < size; ++rank) {
      EXPECT_EQ(causal_pairs(Layout::zigzag, seq, size, rank) * size, seq * (seq + 1) / 2);
    }
  }
}

// Striped Attention (Brandon et al. 2023): against the kv of rank s, rank r masks key index <= query index if
// s <= r, < otherwise.
TEST(Layout, StripedSharesCausalWorkWithinAToken) {
  for (const int size : kSizes) {
    const Index c = 7;
    for (int rank = 0; rank < size; ++rank) {
      EXPECT_EQ(causal_pairs(Layout::striped, c * size, size, rank),
                (rank + 1) * c * (c + 1) / 2 + (size - 1 - rank) * c * (c - 1) / 2);
    }
  }
}

TEST(Layout, RejectsRanksOutsideTheGroup) {
  for (const Layout layout : kLayouts) {
    EXPECT_THROW(positions(layout, 8, 4, 4), std::invalid_argument);
    EXPECT_THROW(positions(layout, 8, 4, -1), std::invalid_argument);
    EXPECT_THROW(positions(layout, 8, 0, 0), std::invalid_argument);
    EXPECT_THROW(positions(layout, -1, 4, 0), std::invalid_argument);
  }
}

TEST(Layout, PartsOfARankFollowEachOther) {
  for (const Layout::Order order :
       {Layout::Order::contiguous, Layout::Order::zigzag, Layout::Order::striped}) {
    for (const int parts : {1, 2, 3}) {
      for (const Index seq : {0, 1, 7, 48, 61}) {
        for (int rank = 0; rank < 2; ++rank) {
          std::vector<Index> together;
          for (int part = 0; part < parts; ++part) {
            const auto own = tokens({order, parts}, seq, 2 * parts, rank * parts + part);
            EXPECT_LE(std::ssize(own), (std::ssize(tokens({order}, seq, 2, rank)) + parts - 1) / parts);
            together.insert(together.end(), own.begin(), own.end());
          }
          EXPECT_EQ(together, tokens({order}, seq, 2, rank));
        }
      }
    }
  }
  EXPECT_THROW(positions({Layout::Order::zigzag, 3}, 8, 4, 0), std::invalid_argument);
}

TEST(Layout, ZigzagCutsEachDocumentAndThePadding) {
  const Problem packed = {.seq = 20, .cu_seqlens = {0, 8, 9, 17}};
  EXPECT_THAT(ringside::positions(Layout::zigzag, packed, 2, 0),
              ElementsAre(Stretch{0, 1, 2}, Stretch{6, 1, 2}, Stretch{8, 1, 1}, Stretch{9, 1, 2},
                          Stretch{15, 1, 2}, Stretch{17, 1, 1}, Stretch{19, 1, 1}));
  EXPECT_THAT(ringside::positions(Layout::zigzag, packed, 2, 1),
              ElementsAre(Stretch{2, 1, 2}, Stretch{4, 1, 2}, Stretch{11, 1, 2}, Stretch{13, 1, 2},
                          Stretch{18, 1, 1}));
}

TEST(Layout, ZigzagDealsOutTheRemaindersOfShortDocuments) {
  for (const Index length : {1, 2, 3, 5, 10, 24}) {
    Problem packed{.cu_seqlens = {0}};
    for (int document = 0; document < 160; ++document) packed.cu_seqlens.push_back(packed.seq += length);
    for (const int size : kSizes) {
      const Index m = 2 * size, turns = m / std::gcd(length, m);  // documents until their starts repeat mod m
      for (int rank = 0; rank < size; ++rank) {
        const Index held = count(ringside::positions(Layout::zigzag, packed, size, rank));
        EXPECT_LT(std::abs(held * size - packed.seq), turns * size) << length << ' ' << size << ' ' << rank;
      }
    }
  }
}

TEST(Layout, Names) {
  EXPECT_EQ(to_string({Layout::Order::zigzag, 2}), "zigzag/2");
  EXPECT_EQ(to_string(Layout::contiguous), "contiguous");
  EXPECT_EQ(to_string(Layout::zigzag), "zigzag");
  EXPECT_EQ(to_string(Layout::striped), "striped");
}

}  // namespace
}  // namespace ringside
