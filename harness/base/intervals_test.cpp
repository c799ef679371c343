#include "harness/base/intervals.h"

#include <gmock/gmock.h>

#include <random>

namespace ringside {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(United, IsASetInOrder) {
  EXPECT_THAT(united({}), IsEmpty());
  EXPECT_THAT(united({{3, 3}}), IsEmpty());
  EXPECT_THAT(united({{1, 2}}), ElementsAre(TimeInterval{1, 2}));
  EXPECT_THAT(united({{5, 7}, {1, 2}}), ElementsAre(TimeInterval{1, 2}, TimeInterval{5, 7}));
  EXPECT_THAT(united({{1, 3}, {2, 5}}), ElementsAre(TimeInterval{1, 5})) << "overlap";
  EXPECT_THAT(united({{1, 3}, {3, 5}}), ElementsAre(TimeInterval{1, 5})) << "touch";
  EXPECT_THAT(united({{1, 9}, {2, 3}, {8, 10}}), ElementsAre(TimeInterval{1, 10})) << "one within another";
  EXPECT_THAT(united({{1, 3}, {1, 3}}), ElementsAre(TimeInterval{1, 3}));
}

TEST(Minus, LeavesWhatIsOnlyInTheFirst) {
  EXPECT_THAT(minus({}, {{1, 2}}), IsEmpty());
  EXPECT_THAT(minus({{1, 5}}, {}), ElementsAre(TimeInterval{1, 5}));
  EXPECT_THAT(minus({{1, 5}}, {{1, 5}}), IsEmpty());
  EXPECT_THAT(minus({{2, 4}}, {{1, 5}}), IsEmpty());
  EXPECT_THAT(minus({{1, 5}}, {{5, 7}}), ElementsAre(TimeInterval{1, 5}));
  EXPECT_THAT(minus({{5, 7}}, {{1, 5}}), ElementsAre(TimeInterval{5, 7}));
  EXPECT_THAT(minus({{1, 5}}, {{2, 3}}), ElementsAre(TimeInterval{1, 2}, TimeInterval{3, 5}));
  EXPECT_THAT(minus({{1, 5}}, {{0, 2}, {4, 9}}), ElementsAre(TimeInterval{2, 4}));
  EXPECT_THAT(minus({{1, 4}, {6, 9}}, {{3, 7}}), ElementsAre(TimeInterval{1, 3}, TimeInterval{7, 9}))
      << "one, two";
  EXPECT_THAT(minus({{0, 10}, {20, 30}}, {{1, 2}, {3, 4}, {25, 40}}),
              ElementsAre(TimeInterval{0, 1}, TimeInterval{2, 3}, TimeInterval{4, 10}, TimeInterval{20, 25}));
}

TEST(Length, IsOfAllTogether) {
  EXPECT_EQ(length({}), 0);
  EXPECT_EQ(length({{1, 3}, {10, 15}}), 7);
}

/// Point by point: [t, t+1) is in a set or not.
TEST(Intervals, AgreeWithSetsOfPoints) {
  std::mt19937 random(7);
  const auto some = [&] {
    Intervals all(random() % 6);
    for (TimeInterval& x : all) {
      x.begin = random() % 30;
      x.end = x.begin + random() % 8;
    }
    return all;
  };
  const auto holds = [](const Intervals& all, std::int64_t t) {
    return std::ranges::any_of(all, [&](const TimeInterval& x) { return x.begin <= t && t < x.end; });
  };
  for (int trial = 0; trial < 2000; ++trial) {
    const Intervals a = some(), b = some();
    const Intervals set = united(a), rest = minus(set, united(b));
    EXPECT_EQ(united(rest), rest) << "is a set";
    std::int64_t points = 0;
    for (std::int64_t t = 0; t < 40; ++t) {
      EXPECT_EQ(holds(set, t), holds(a, t));
      EXPECT_EQ(holds(rest, t), holds(a, t) && !holds(b, t));
      points += holds(a, t);
    }
    EXPECT_EQ(length(set), points);
  }
}

}  // namespace
}  // namespace ringside
