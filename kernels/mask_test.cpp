#include "kernels/mask.h"

#include <gtest/gtest.h>

namespace ringside {
namespace {

/// Pairs that the mask leaves, counted one by one.
Index visible_pairs(const Run& q, const Run& k, bool causal) {
  Index pairs = 0;
  for (Index i = 0; i < q.count; ++i) {
    for (Index j = 0; j < k.count; ++j) pairs += !causal || k.position(j) <= q.position(i);
  }
  return pairs;
}

std::vector<Run> small_runs() {
  std::vector<Run> runs;
  for (Index start = 0; start < 7; ++start) {
    for (Index stride = 1; stride < 4; ++stride) {
      for (Index count = 0; count < 5; ++count) runs.push_back({start, stride, count});
    }
  }
  return runs;
}

TEST(Mask, CoverAgreesWithCounting) {
  for (const bool causal : {false, true}) {
    for (const ringside::Run& q : small_runs()) {
      for (const ringside::Run& k : small_runs()) {
        const Index pairs = visible_pairs(q, k, causal);
        const Cover expected = pairs == 0                   ? Cover::empty
                               : pairs == q.count * k.count ? Cover::full
                                                            : Cover::partial;
        ASSERT_EQ(cover(q, k, causal), expected)
            << q.start << ' ' << q.stride << ' ' << q.count << " | " << k.start << ' ' << k.stride << ' '
            << k.count << " causal " << causal;
      }
    }
  }
}

TEST(Mask, CountUpTo) {
  for (const ringside::Run& run : small_runs()) {
    for (Index position = -2; position < 20; ++position) {
      Index expected = 0;
      for (Index i = 0; i < run.count; ++i) expected += run.position(i) <= position;
      ASSERT_EQ(count_up_to(run, position), expected);
    }
  }
}

TEST(Mask, FullyMasked) {
  const Positions early{{0, 1, 4}}, late{{4, 1, 4}}, both{{0, 1, 4}, {12, 1, 4}};
  EXPECT_TRUE(fully_masked(early, late, true));
  EXPECT_FALSE(fully_masked(early, late, false));
  EXPECT_FALSE(fully_masked(late, early, true));
  EXPECT_FALSE(fully_masked(both, late, true));
  EXPECT_FALSE(fully_masked(early, early, true));
  EXPECT_TRUE(fully_masked({}, early, true));
  EXPECT_TRUE(fully_masked(early, {}, false));
  EXPECT_FALSE(fully_masked({{3, 1, 1}}, {{3, 1, 1}}, true));
}

TEST(Mask, TilesCoverEachTokenOnceAndStayInTheirRun) {
  const Positions positions{{5, 3, 7}, {40, 1, 0}, {100, 1, 9}};
  const auto tiles = token_tiles(positions, 4);
  std::vector<Index> seen;
  for (const TokenTile& tile : tiles) {
    EXPECT_LE(tile.positions.count, 4);
    EXPECT_GE(tile.positions.count, 1);
    EXPECT_EQ(tile.first, std::ssize(seen));
    for (Index i = 0; i < tile.positions.count; ++i) seen.push_back(tile.positions.position(i));
  }
  std::vector<Index> expected;
  for (const ringside::Run& run : positions) {
    for (Index i = 0; i < run.count; ++i) expected.push_back(run.position(i));
  }
  EXPECT_EQ(seen, expected);
}

}  // namespace
}  // namespace ringside
