#include "kernels/token_tiles.h"

#include <gtest/gtest.h>

namespace ringside {
namespace {

struct Documents {
  bool causal = true;
  Index window = 0;
  std::vector<Index> cu_seqlens = {};

  Mask mask() const { return {causal, window, cu_seqlens}; }
};

/// By the definition in problem.h.
bool sees(const Documents& of, Index query, Index key) {
  const auto document = [&](Index token) {
    Index bounds = 0;
    for (const Index bound : of.cu_seqlens) bounds += bound <= token;
    return bounds;
  };
  const bool padding = !of.cu_seqlens.empty() && query >= of.cu_seqlens.back();
  return !padding && document(query) == document(key) && (!of.causal || key <= query) &&
         (of.window == 0 || query - key < of.window);
}

const Documents kMasks[] = {{.causal = false},
                            {.causal = true},
                            {.causal = true, .window = 1},
                            {.causal = true, .window = 4},
                            {.causal = false, .cu_seqlens = {0, 3, 4, 9}},
                            {.causal = true, .cu_seqlens = {0, 3, 4, 9}},
                            {.causal = true, .window = 2, .cu_seqlens = {0, 1, 2, 7, 8, 13}},
                            {.causal = false, .cu_seqlens = {0, 6}}};

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
  for (const Documents& of : kMasks) {
    const Mask mask = of.mask();
    for (const ringside::Run& q : small_runs()) {
      for (const ringside::Run& k : small_runs()) {
        Index pairs = 0;
        for (Index i = 0; i < q.count; ++i) {
          for (Index j = 0; j < k.count; ++j) pairs += sees(of, q.position(i), k.position(j));
        }
        const Cover expected = pairs == 0                   ? Cover::empty
                               : pairs == q.count * k.count ? Cover::full
                                                            : Cover::partial;
        ASSERT_EQ(cover(q, k, mask), expected)
            << q.start << ' ' << q.stride << ' ' << q.count << " | " << k.start << ' ' << k.stride << ' '
            << k.count << " causal " << of.causal << " window " << of.window;
      }
    }
  }
}

/// Tiles of `positions`, of two tokens, in pairs with what `cover_of` makes of them, but for the empty ones.
template <typename CoverOf>
std::vector<std::pair<Index, Cover>> covered(const std::vector<TokenTile>& tiles, CoverOf&& cover_of) {
  std::vector<std::pair<Index, Cover>> some;
  for (const TokenTile& tile : tiles) {
    if (const Cover cover = cover_of(tile.positions); cover != Cover::empty)
      some.emplace_back(tile.first, cover);
  }
  return some;
}
std::vector<std::pair<Index, Cover>> firsts(auto seen) {
  std::vector<std::pair<Index, Cover>> all;
  while (seen.next()) all.emplace_back(seen.tile().first, seen.cover());
  return all;
}

TEST(Mask, TilesSeenAreThoseThatAreCovered) {
  for (const Documents& of : kMasks) {
    const Mask mask = of.mask();
    for (const Positions& positions :
         {Positions{{0, 1, 16}}, {{8, 1, 6}, {1, 3, 4}, {14, 1, 2}}, {{1, 2, 7}}}) {
      const auto tiles = token_tiles(positions, 2, of.cu_seqlens),
                 others = token_tiles({{0, 1, 16}}, 3, of.cu_seqlens);
      for (const TokenTile& tile : others) {
        const ringside::Run& run = tile.positions;
        EXPECT_EQ(firsts(key_tiles_seen(tile, tiles, mask)),
                  covered(tiles, [&](const ringside::Run& k) { return cover(run, k, mask); }));
        EXPECT_EQ(firsts(query_tiles_seeing(tile, tiles, mask)),
                  covered(tiles, [&](const ringside::Run& q) { return cover(q, run, mask); }));
      }
    }
  }
}

TEST(Mask, KeysAndQueriesAreTheSamePairs) {
  for (const Documents& of : kMasks) {
    for (Index query = 0; query < 16; ++query) {
      const Interval keys = of.mask().keys_of(query);
      for (Index key = 0; key < 16; ++key) {
        const Interval queries = of.mask().queries_of(key);
        ASSERT_EQ(keys.begin <= key && key < keys.end, sees(of, query, key)) << query << ' ' << key;
        ASSERT_EQ(queries.begin <= query && query < queries.end, sees(of, query, key)) << query << ' ' << key;
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
  const Mask causal{}, full{.causal = false};
  EXPECT_TRUE(fully_masked(early, late, causal));
  EXPECT_FALSE(fully_masked(early, late, full));
  EXPECT_FALSE(fully_masked(late, early, causal));
  EXPECT_FALSE(fully_masked(both, late, causal));
  EXPECT_FALSE(fully_masked(early, early, causal));
  EXPECT_TRUE(fully_masked({}, early, causal));
  EXPECT_TRUE(fully_masked(early, {}, full));
  EXPECT_FALSE(fully_masked({{3, 1, 1}}, {{3, 1, 1}}, causal));
  const std::vector<Index> at_4 = {0, 4, 14}, padded = {0, 4};
  EXPECT_TRUE(fully_masked(late, early, {.causal = false, .cu_seqlens = at_4}));
  EXPECT_FALSE(fully_masked(both, late, {.cu_seqlens = at_4}));
  EXPECT_TRUE(fully_masked(late, late, {.causal = false, .cu_seqlens = padded}));
  EXPECT_FALSE(fully_masked(late, early, {.window = 2}));
  EXPECT_TRUE(fully_masked({{5, 1, 4}}, early, {.window = 2}));
}

TEST(Mask, TilesStayInTheirDocument) {
  const Positions positions{{0, 1, 9}, {10, 3, 10}};
  const std::vector<Index> cu_seqlens = {0, 1, 2, 7, 30, 31};
  std::vector<Index> seen;
  for (const TokenTile& tile : token_tiles(positions, 4, cu_seqlens)) {
    ASSERT_GE(tile.positions.count, 1);
    ASSERT_LE(tile.positions.count, 4);
    EXPECT_EQ(tile.first, std::ssize(seen));
    const Index last = tile.positions.position(tile.positions.count - 1);
    for (const Index bound : cu_seqlens) EXPECT_FALSE(tile.positions.start < bound && bound <= last);
    for (Index i = 0; i < tile.positions.count; ++i) seen.push_back(tile.positions.position(i));
  }
  EXPECT_EQ(std::ssize(seen), count(positions));
  EXPECT_TRUE(std::ranges::is_sorted(seen));
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
