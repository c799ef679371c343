// The schedule as data: whatever runs by it computes each causal block once and waits for nobody in vain.
#include "distributed/variants/balanced.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <utility>

namespace ringside::balanced {
namespace {

constexpr int kMostRanks = 17;

/// f(P, rank, t) for every step of every rank, up to kMostRanks ranks.
template <typename F>
void for_every_step(const F& f) {
  for (int size = 1; size <= kMostRanks; ++size) {
    for (int rank = 0; rank < size; ++rank) {
      for (int t = 0; t < steps(size); ++t) f(size, rank, t);
    }
  }
}

/// In how many steps of all ranks `counted(step)` holds.
template <typename Counted>
int count_steps(int size, const Counted& counted) {
  int found = 0;
  for (int rank = 0; rank < size; ++rank) {
    for (int t = 0; t < steps(size); ++t) found += counted(step_of(size, rank, t)) ? 1 : 0;
  }
  return found;
}

bool is(const std::optional<Visit>& visit, Part part) { return visit && visit->part == part; }

TEST(BalancedSchedule, ComputesEachCausalBlockOnce) {
  std::map<int, std::map<std::pair<int, int>, int>> times;  // by size
  for_every_step([&](int size, int rank, int t) {
    if (const auto block = step_of(size, rank, t).block) ++times[size][{block->queries, block->keys}];
  });
  for (int size = 1; size <= kMostRanks; ++size) {
    EXPECT_EQ(times[size].size(), static_cast<std::size_t>(size * (size + 1) / 2)) << size << " ranks";
    for (const auto& [block, computed] : times[size]) {
      EXPECT_LE(block.second, block.first) << size << " ranks";
      EXPECT_EQ(computed, 1) << size << " ranks: queries of " << block.first << ", keys of " << block.second;
    }
  }
}

TEST(BalancedSchedule, OneSideOfABlockIsAtHomeAndTheOtherTheGuest) {
  for_every_step([](int size, int rank, int t) {
    const Step step = step_of(size, rank, t);
    if (!step.block) {
      EXPECT_FALSE(step.guest);
    } else if (t == 0) {
      EXPECT_EQ(*step.block, (Block{rank, rank}));
      EXPECT_FALSE(step.guest);
    } else {
      ASSERT_TRUE(step.guest);
      const bool helps = step.guest->part == Part::queries;
      EXPECT_EQ(*step.block, (helps ? Block{step.guest->peer, rank} : Block{rank, step.guest->peer}));
      EXPECT_NE(step.guest->peer, rank);
    }
  });
}

TEST(BalancedSchedule, GuestsComeTheStepBeforeAndTheirResultsGoHomeTheStepAfter) {
  for_every_step([](int size, int rank, int t) {
    const Step step = step_of(size, rank, t);
    if (t == 0) {
      EXPECT_FALSE(step.guest || step.give_back || step.take_back);
    } else {
      EXPECT_EQ(step.guest, step_of(size, rank, t - 1).receive);
    }
    if (t + 1 < steps(size)) {
      EXPECT_EQ(step.guest, step_of(size, rank, t + 1).give_back);
    } else {
      EXPECT_FALSE(step.block || step.guest || step.send || step.receive);
    }
  });
}

TEST(BalancedSchedule, WhatOneSendsAnotherReceivesInTheSameStep) {
  const auto mirrors = [](const std::optional<Visit>& one, int rank, const std::optional<Visit>& other) {
    return !one || other == Visit{one->part, rank};
  };
  for_every_step([&](int size, int rank, int t) {
    const Step step = step_of(size, rank, t);
    const auto at = [&](const std::optional<Visit>& visit) {
      return step_of(size, visit ? visit->peer : rank, t);
    };
    EXPECT_TRUE(mirrors(step.send, rank, at(step.send).receive)) << size << " " << rank << " " << t;
    EXPECT_TRUE(mirrors(step.receive, rank, at(step.receive).send)) << size << " " << rank << " " << t;
    EXPECT_TRUE(mirrors(step.give_back, rank, at(step.give_back).take_back))
        << size << " " << rank << " " << t;
    EXPECT_TRUE(mirrors(step.take_back, rank, at(step.take_back).give_back))
        << size << " " << rank << " " << t;
  });
}

// LightSeq's figure of eight ranks: the plain ring would send k, v 56 times.
TEST(BalancedSchedule, AmongEightRanksKeysTravel22TimesQueriesSixAndTheirResultsSix) {
  EXPECT_EQ(count_steps(8, [](const Step& s) { return is(s.send, Part::keys); }), 22);
  EXPECT_EQ(count_steps(8, [](const Step& s) { return is(s.send, Part::queries); }), 6);
  EXPECT_EQ(count_steps(8, [](const Step& s) { return is(s.give_back, Part::queries); }), 6);
}

// The last results of queries leave in step P/2, beside the last block; of an odd P one step later.
TEST(BalancedSchedule, ResultsOfQueriesTakeAStepOfTheirOwnOnlyIfTheRanksAreOdd) {
  for (int size = 3; size <= kMostRanks; ++size) {
    int last = 0;
    for (int rank = 0; rank < size; ++rank) {
      for (int t = 0; t < steps(size); ++t) {
        if (is(step_of(size, rank, t).give_back, Part::queries)) last = std::max(last, t);
      }
    }
    EXPECT_EQ(last, (size + 1) / 2) << size << " ranks";
  }
}

// Of an even P the lower half of the ranks idles in step P/2: 1/(P+2) of the slots in which something may be
// computed, and, the first being half a block, 1/(P+1) of the time. Of an odd P nobody does.
TEST(BalancedSchedule, IdlesAsLittleAsItSays) {
  for (int size = 1; size <= kMostRanks; ++size) {
    const int slots = size * (steps(size) - 1);
    const int idle = slots - count_steps(size, [](const Step& s) { return s.block.has_value(); });
    if (size % 2 == 1) {
      EXPECT_EQ(idle, 0) << size << " ranks";
    } else {
      EXPECT_EQ(idle * (size + 2), slots) << size << " ranks";
      const int half_blocks = 2 * slots - size;  // of time
      EXPECT_EQ(2 * idle * (size + 1), half_blocks) << size << " ranks";
    }
  }
}

}  // namespace
}  // namespace ringside::balanced
