// Tests the sentences of findings.
#include "harness/judge/finding.h"

#include <gmock/gmock.h>

#include <set>

namespace ringside {
namespace {

constexpr Element kWhere = {.batch = 1,
                            .head = 2,
                            .token = 3,
                            .dim = 4,
                            .rank = 5,
                            .value = 0.5,
                            .expected = 0.25,
                            .parts = {.stored = 0.125}};

TEST(Sentence, SaysTheFactsOfEachRule) {
  const std::pair<Finding, const char*> all[] = {
      {{.rule = Rule::element,
        .tensor = Out::dq,
        .wrong = 3,
        .elements = 64,
        .by_rank = {{1, 2}, {5, 1}},
        .where = kWhere},
       "dq: 3 of 64 elements beyond their bound (rank 1: 2, rank 5: 1); worst at batch 1, head 2, position 3, "
       "dim 4 on rank 5: got 0.5, expected 0.25, bound 0.125"},
      {{.rule = Rule::pattern,
        .measured = 2,
        .wrong = 3,
        .elements = 64,
        .by_rank = {{5, 3}},
        .where = kWhere},
       "3 of 64 elements beyond their bound (rank 5: 3), 2 of them by their NaN/inf pattern; worst at batch 1, "
       "head 2, position 3, dim 4 on rank 5: got 0.5, expected 0.25, bound 0.125"},
      {{.rule = Rule::row, .share = 1.5, .where = Element{.token = 7, .dim = -1, .rank = -1}},
       "a row strays 1.5 times as far as its limit, which the control (a single-rank run) with as many terms "
       "gives: batch 0, head 0, position 7"},
      {{.rule = Rule::bias, .measured = 0.01, .limit = 0.002},
       "biased: the least-squares slope against the reference is off by 0.01, limit 0.002"},
      {{.rule = Rule::error, .measured = 0.01, .limit = 0.002},
       "errs too much as a whole: relative error 0.01, limit 0.002"},
      {{.rule = Rule::grid, .wrong = 80, .by_rank = {{0, 70}, {2, 10}}, .subject = "bf16"},
       "holds bf16 numbers alone on rank 0, 2, where 80 elements need more bits"},
      {{.rule = Rule::traffic,
        .measured = 12,
        .limit = 8,
        .by_rank = {{1, 12}},
        .subject = "bytes in forward"},
       "traffic: rank 1 sent 12 bytes in forward; the formula says 8"},
      {{.rule = Rule::memory,
        .measured = 12,
        .limit = 8,
        .by_rank = {{1, 12}, {3, 9}},
        .subject = "bytes in backward"},
       "memory: rank 1 held 12 bytes in backward; the formula says 8 (ranks 1, 3 depart)"},
      {{.rule = Rule::repeat, .by_rank = {{2, 1}}}, "not repeatable: rank 2 gave other bits when run again"},
      {{.rule = Rule::property,
        .tensor = Out::o,
        .wrong = 3,
        .elements = 64,
        .where = kWhere,
        .subject = "doubling",
        .when = "with v doubled"},
       "o: doubling: batch 1, head 2, position 3, dim 4 on rank 5 is 0.5, not 0.25 within 0.125, with v doubled; "
       "3 of 64 elements"},
      {{.rule = Rule::mistrust, .subject = "is do zero?"}, "mistrusted: is do zero?"},
      {{.rule = Rule::expectation, .subject = "issue 7"},
       "passed, though its row expects fail:issue 7; if the fault is mended, the row should lose that mark"}};
  std::set<Rule> told;
  for (const auto& [finding, said] : all) {
    EXPECT_EQ(sentence(finding), said);
    told.insert(finding.rule);
  }
  EXPECT_EQ(told.size(), kRules.size());
}

TEST(Sentence, NamesTheFirstOfManyRanks) {
  Finding finding = {.rule = Rule::repeat};
  for (int rank = 0; rank < 1000; ++rank) finding.by_rank[rank] = 1;
  EXPECT_EQ(sentence(finding),
            "not repeatable: rank 0, 1, 2, 3, 4, 5, 6, 7 and 992 more gave other bits when run again");
}

}  // namespace
}  // namespace ringside
