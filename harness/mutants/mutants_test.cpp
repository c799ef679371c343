#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "harness/mutants/run_mutants.h"

namespace ringside {
namespace {

const Case kCase = {.variant = "ring",
                    .batch = 2,
                    .seq = 45,
                    .heads = 4,
                    .kv_heads = 2,
                    .head_dim = 8,
                    .value_dim = 12,
                    .sp = 3};

MutantsResult run(Mutant mutant) {
  return run_mutants({std::move(mutant)}, {kCase}, [](const std::string&) {});
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
