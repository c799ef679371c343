#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "harness/mutants/run_mutants.h"
#include "harness/mutants/wrong_block.h"

namespace ringside {
namespace {

const Case kPlanted = {.variant = "ring",
                       .batch = 2,
                       .seq = 45,
                       .heads = 4,
                       .kv_heads = 2,
                       .head_dim = 8,
                       .value_dim = 12,
                       .sp = 3};

/// On the variant that the mutant is a twin of.
MutantsResult run(Mutant mutant, int sp = kPlanted.sp) {
  Case c = kPlanted;
  c.variant = mutant.twin.name;
  c.sp = sp;
  return run_mutants({std::move(mutant)}, {c}, [](const std::string&) {});
}

TEST(Mutants, RightVariantSurvives) {
  const MutantsResult result =
      run({.bug = "none", .summary = "", .twin = *find_variant("ring", Operator::softmax)});
  EXPECT_FALSE(result.mutants[0].caught());
  EXPECT_FALSE(result.mutants[0].legacy());
  EXPECT_EQ(result.mutants[0].clearest(), nullptr);
  EXPECT_EQ(result.clean_runs, 1);
  EXPECT_THAT(result.false_alarms, testing::IsEmpty());
  EXPECT_THAT(mutants_table(result), testing::HasSubstr("SURVIVED in ring"));
}

TEST(Mutants, RowOnTheLastRankIsSeenThereAndNotByTheMeanOverRank0) {
  Mutants list;
  add_result_bugs(list);
  const auto bug = std::ranges::find_if(
      list, [](const Mutant& m) { return m.bug == "o_row_zero" && m.twin.name == "ring"; });
  const MutantsResult result = run(*bug);
  const Catch& caught = result.mutants[0].runs.at(0);
  EXPECT_TRUE(caught.red);
  EXPECT_EQ(caught.tensors, "o");
  EXPECT_THAT(caught.ranks, testing::ElementsAre(2));
  EXPECT_GT(caught.share, 1);
  EXPECT_FALSE(caught.legacy);
}

TEST(Mutants, ErrorThatEndsTheRunIsKept) {
  Mutants list;
  add_message_bugs(list);
  const auto bug =
      std::ranges::find_if(list, [](const Mutant& m) { return m.bug == "dies" && m.twin.name == "ring"; });
  const MutantsResult result = run(*bug);
  EXPECT_TRUE(result.mutants[0].caught());
  EXPECT_EQ(result.mutants[0].runs.at(0).error, "rank 1 died in ring forward, step 0: k, v");
}

TEST(Mutants, OneThatMustEndTheRunAndDoesNotHasNotBeenCaught) {
  Mutants list;
  add_result_bugs(list);
  Mutant wrong = *std::ranges::find_if(
      list, [](const Mutant& m) { return m.bug == "dv_times_size" && m.twin.name == "ring"; });
  EXPECT_TRUE(run(wrong).mutants.at(0).caught());
  wrong.ends_with = "rank 1";
  EXPECT_FALSE(run(wrong).mutants.at(0).caught());
}

TEST(Mutants, ErrorThatNobodyAskedForIsNoCatch) {
  Mutants list;
  add_message_bugs(list);
  Mutant dies =
      *std::ranges::find_if(list, [](const Mutant& m) { return m.bug == "dies" && m.twin.name == "ring"; });
  dies.ends_with = {};
  EXPECT_THROW(run(dies), std::runtime_error);
}

// Zigzag's rule by steps is that of a plain ring: a bug only where another way round leads past other ranks.
TEST(Mutants, MaskByStepIsRightOnAPlainRingAndWrongOnADoubleOne) {
  const auto by_step = [](const char* variant) {
    return Mutant{.bug = "mask_by_step",
                  .summary = "",
                  .twin = on_device<MaskByStep>(*find_variant(variant, Operator::softmax))};
  };
  for (const int sp : {1, 2, 3, 4})
    EXPECT_FALSE(run(by_step("ring_zigzag"), sp).mutants.at(0).caught()) << sp;
  EXPECT_FALSE(run(by_step("double_ring.2"), 2).mutants.at(0).caught());  // one node
  EXPECT_TRUE(run(by_step("double_ring.2"), 4).mutants.at(0).caught());
}

TEST(Mutants, MaskAtEveryStepShowsOnSeveralRanksAlone) {
  Mutants list;
  add_ring_bugs(list);
  const Mutant bug = *std::ranges::find_if(
      list, [](const Mutant& m) { return m.bug == "mask_at_every_step" && m.twin.name == "ring_zigzag"; });
  EXPECT_FALSE(run(bug, 1).mutants.at(0).caught());
  for (const int sp : {2, 3, 4}) EXPECT_TRUE(run(bug, sp).mutants.at(0).caught()) << sp;
}

TEST(Mutants, BugsOfTheRingCountItsStopsWhereSeveralRanksShareOne) {
  int bugs = 0;
  for (const Mutant& mutant : all_mutants()) {
    const bool counts = mutant.number == 4 || mutant.number == 9 || mutant.number == 10;
    if (!counts || mutant.twin.name != "usp.2") continue;
    EXPECT_FALSE(run(mutant, 2).mutants.at(0).caught()) << mutant.bug;  // one stop
    EXPECT_TRUE(run(mutant, 4).mutants.at(0).caught()) << mutant.bug;
    ++bugs;
  }
  EXPECT_EQ(bugs, 3);
}

TEST(Mutants, EveryBugOfTheListIsPlantedOrSaidToBeAbsent) {
  std::set<int> numbers;
  for (const AbsentBug& bug : absent_bugs()) EXPECT_TRUE(numbers.insert(bug.number).second) << bug.bug;
  std::set<int> planted;
  for (const Mutant& mutant : all_mutants()) planted.insert(mutant.number);
  planted.erase(0);
  for (const int number : planted) EXPECT_TRUE(numbers.insert(number).second) << number;
  EXPECT_EQ(numbers.size(), 58U);
  EXPECT_EQ(*numbers.begin(), 1);
  EXPECT_EQ(*numbers.rbegin(), 58);
}

TEST(Mutants, BugsOfOneNameStandTogetherAndAreDifferentVariants) {
  std::set<std::string> seen;
  std::string_view last;
  std::set<std::string_view> names;
  for (const Mutant& mutant : all_mutants()) {
    EXPECT_TRUE(mutant.bug == last || names.insert(mutant.bug).second) << mutant.bug << " stands apart";
    last = mutant.bug;
    const auto op = std::string(to_string(mutant.twin.op));
    EXPECT_TRUE(seen.insert(std::string(mutant.bug) + " " + std::string(mutant.twin.name) + " " + op).second);
    EXPECT_FALSE(mutant.summary.empty());
  }
}

}  // namespace
}  // namespace ringside
