#include "distributed/variants/ring_loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <stdexcept>

namespace ringside {
namespace {

using testing::ElementsAre;

std::vector<int> owners(const Route& route, int stop) {
  std::vector<int> all;
  for (int step = 0; step <= route.stops; ++step) all.push_back(route.owner(stop, step));
  return all;
}

TEST(Route, OfOneNodeIsARing) {
  EXPECT_THAT(owners({4, 4}, 0), ElementsAre(0, 3, 2, 1, 0));
  EXPECT_THAT(owners({4, 4}, 2), ElementsAre(2, 1, 0, 3, 2));
  EXPECT_THAT(owners({1, 1}, 0), ElementsAre(0, 0));
}

TEST(Route, OfNodesOfOneIsTheSameRing) {
  for (int stop = 0; stop < 5; ++stop) EXPECT_EQ(owners({5, 1}, stop), owners({5, 5}, stop));
}

// In step 2 the keys that node 1 had in step 1 are in node 0: those of rank 3 at place 0.
TEST(Route, OfTwoNodesOfTwo) {
  EXPECT_THAT(owners({4, 2}, 0), ElementsAre(0, 1, 3, 2, 0));
  EXPECT_THAT(owners({4, 2}, 1), ElementsAre(1, 0, 2, 3, 1));
  EXPECT_THAT(owners({4, 2}, 2), ElementsAre(2, 3, 1, 0, 2));
  EXPECT_THAT(owners({4, 2}, 3), ElementsAre(3, 2, 0, 1, 3));
}

TEST(Route, BringsAllKeysToAllStopsAndHome) {
  for (int stops = 1; stops <= 12; ++stops) {
    for (int node = 1; node <= stops; ++node) {
      if (stops % node != 0) continue;
      const Route route = {stops, node};
      for (int a = 0; a < stops; ++a) {
        std::set<int> seen;
        for (int step = 0; step < stops; ++step) {
          seen.insert(route.owner(a, step));
          EXPECT_EQ(route.owner(route.place(a, step), step), a);  // one place, and no other
          EXPECT_EQ(route.place(route.owner(a, step), step), a);
        }
        EXPECT_EQ(std::ssize(seen), stops) << stops << " stops, nodes of " << node << ", stop " << a;
        EXPECT_EQ(route.owner(a, 0), a);
        EXPECT_EQ(route.owner(a, stops), a);
      }
    }
  }
}

TEST(Route, LeavesANodeOnlyWhenItsRingIsDone) {
  const Route route = {12, 4};
  for (int owner = 0; owner < 12; ++owner) {
    for (int step = 0; step + 1 < 12; ++step) {
      const int from = route.place(owner, step), to = route.place(owner, step + 1);
      if ((step + 1) % 4 == 0) {
        EXPECT_EQ(to, (from + 4) % 12);
      } else {
        EXPECT_EQ(to, from / 4 * 4 + (from + 1) % 4);
      }
    }
  }
  EXPECT_THROW(static_cast<void>(route.place(12, 3)), std::logic_error);
}

}  // namespace
}  // namespace ringside
