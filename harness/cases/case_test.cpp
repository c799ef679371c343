#include "harness/cases/case.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <regex>
#include <set>

#include "harness/cases/case_file.h"
#include "reference/error.h"

namespace ringside {
namespace {

using ::testing::HasSubstr;

const Case kLasp{.variant = "lasp_naive",
                 .op = Operator::lightning,
                 .dtype = DType::bf16,
                 .math = Math::fp32,
                 .batch = 8,
                 .seq = 2048,
                 .heads = 12,
                 .kv_heads = 4,
                 .head_dim = 128,
                 .value_dim = 64,
                 .dp = 2,
                 .sp = 3};

const Case kRing{.variant = "ring",
                 .op = Operator::softmax,
                 .math = Math::tf32,
                 .batch = 4,
                 .seq = 1000,
                 .heads = 8,
                 .kv_heads = 2,
                 .head_dim = 64,
                 .value_dim = 32,
                 .dp = 4,
                 .sp = 2,
                 .causal = false,
                 .fill = Fill::large_logit,
                 .seed = 9223372036854775807u};

Case with_slope(Case c, float slope) {
  c.decay.slope = slope;
  return c;
}

TEST(CaseName, HasEveryParameter) {
  EXPECT_EQ(kLasp.name(),
            "lasp_naive-lightning-bf16-fp32-b8-n2048-h12-hk4-d128-e64-dp2-sp3-causal-alibi-gaussian-seed1");
  EXPECT_EQ(
      kRing.name(),
      "ring-softmax-fp32-tf32-b4-n1000-h8-hk2-d64-e32-dp4-sp2-full-large_logit-seed9223372036854775807");
  Case sampled = kRing;
  sampled.sample = 64;
  EXPECT_EQ(sampled.name(), kRing.name() + "-sample64");
}

TEST(CaseName, WritesSlopesShortAndWhole) {
  EXPECT_EQ(to_string(DecaySpec{}), "alibi");
  EXPECT_EQ(to_string(DecaySpec{.slope = 0.0f}), "0");
  EXPECT_EQ(to_string(DecaySpec{.slope = 0.1f}), "0.1");
  EXPECT_EQ(to_string(DecaySpec{.slope = 100.0f}), "100");
  EXPECT_EQ(to_string(DecaySpec{.slope = 1e30f}), "1e30");
  EXPECT_EQ(to_string(DecaySpec{.slope = 1e-30f}), "1e-30");
  EXPECT_NE(to_string(DecaySpec{.slope = 0.1f}), to_string(DecaySpec{.slope = std::nextafter(0.1f, 1.0f)}));
  EXPECT_NE(to_string(DecaySpec{.given = {0.1f, 0.2f}}), to_string(DecaySpec{.given = {0.2f, 0.1f}}));
}

TEST(CaseName, IsDifferentForDifferentCases) {
  std::vector<Case> cases = {kLasp, kRing, with_slope(kLasp, 0), with_slope(kRing, 0),
                             with_slope(kLasp, 1e30f)};
  const auto vary = [&](auto change) {
    cases.push_back(kLasp);
    change(cases.back());
  };
  vary([](Case& c) { c.variant = "lasp_cache"; });
  vary([](Case& c) { c.op = Operator::softmax; });
  vary([](Case& c) { c.dtype = DType::fp32; });
  vary([](Case& c) { c.math = Math::tf32; });
  vary([](Case& c) { c.batch = 4; });
  vary([](Case& c) { c.seq = 12; });
  vary([](Case& c) { c.heads = 4; });
  vary([](Case& c) { c.kv_heads = 12; });
  vary([](Case& c) { c.head_dim = 64; });
  vary([](Case& c) { c.value_dim = 128; });
  vary([](Case& c) { c.dp = 1; });
  vary([](Case& c) { c.sp = 1; });
  vary([](Case& c) { c.causal = false; });
  for (const Fill fill : kFills) {
    if (fill != Fill::gaussian) vary([&](Case& c) { c.fill = fill; });
  }
  vary([](Case& c) { c.seed = 0; });
  vary([](Case& c) { c.sample = 64; });
  vary([](Case& c) { c.sample = 6; });
  Case checked = kLasp;
  checked.checks = {kChecks.begin(), kChecks.end()};
  EXPECT_EQ(checked.name(), kLasp.name());  // the same problem on the same ranks
  std::set<std::string> names;
  for (const Case& c : cases) {
    EXPECT_TRUE(names.insert(c.name()).second) << c.name();
    EXPECT_TRUE(std::regex_match(c.name(), std::regex("[A-Za-z0-9._-]+"))) << c.name();
    EXPECT_TRUE(std::regex_match(c.name(), std::regex(c.name()))) << c.name();
  }
}

TEST(CaseProblem, IsGlobalOrOneGroups) {
  const Problem whole = kLasp.problem();
  EXPECT_EQ(whole.op, Operator::lightning);
  EXPECT_EQ(whole.q_shape(), (Shape{8, 12, 2048, 128}));
  EXPECT_EQ(whole.k_shape(), (Shape{8, 4, 2048, 128}));
  EXPECT_EQ(whole.v_shape(), (Shape{8, 4, 2048, 64}));
  EXPECT_EQ(whole.o_shape(), (Shape{8, 12, 2048, 64}));
  EXPECT_TRUE(whole.causal);
  const Problem local = kLasp.local_problem();
  EXPECT_EQ(local.q_shape(), (Shape{4, 12, 2048, 128}));
  EXPECT_EQ(local.slopes, whole.slopes);
  EXPECT_EQ(kLasp.ranks(), 6);
}

TEST(CaseProblem, HasGivenSlopesAboveAll) {
  Case c;
  c.op = Operator::lightning;
  c.heads = 2;
  c.decay = {.slope = 0.5f, .given = {0.1f, 0.2f}};
  EXPECT_EQ(c.problem().slopes, (std::vector{0.1f, 0.2f}));
}

TEST(CaseProblem, HasSlopesOrScale) {
  EXPECT_EQ(kLasp.problem().slopes, alibi_slopes(12));
  EXPECT_EQ(kLasp.problem().scale, 1.0f);
  EXPECT_EQ(with_slope(kLasp, 0.25f).problem().slopes, std::vector<float>(12, 0.25f));
  EXPECT_EQ(with_slope(kLasp, 0).problem().slopes, std::vector<float>(12, 0.0f));
  EXPECT_TRUE(kRing.problem().slopes.empty());
  EXPECT_EQ(kRing.problem().scale, 0.125f);
  EXPECT_FALSE(kRing.problem().causal);
}

TEST(Fill, HasOneNameEach) {
  std::set<std::string_view> names;
  for (const Fill fill : kFills) names.insert(to_string(fill));
  EXPECT_EQ(names, (std::set<std::string_view>{"gaussian", "large_logit", "exact", "one_hot", "constant",
                                               "denormal", "inf", "nan"}));
}

const std::vector<Check> kAllChecks = {kChecks.begin(), kChecks.end()};

/// What a cell of the column checks means.
std::vector<Check> checks_of(const std::string& cell) {
  return parse_cases("variant,seq,head_dim,checks\nring,8,4," + cell + "\n", "t.csv",
                     [](std::string_view) { return std::vector<Operator>{Operator::softmax}; })
      .at(0)
      .checks;
}

TEST(Checks, AreNamesAllOrNone) {
  EXPECT_EQ(checks_of(""), std::vector<Check>{});
  EXPECT_EQ(checks_of("none"), std::vector<Check>{});
  EXPECT_EQ(checks_of("all"), kAllChecks);
  EXPECT_EQ(checks_of(to_string(kAllChecks)), kAllChecks);
  EXPECT_EQ(checks_of("repeat"), std::vector{Check::repeat});
  EXPECT_EQ(checks_of("sp_split+causality"), (std::vector{Check::causality, Check::sp_split}));
  EXPECT_EQ(to_string(checks_of("")), "none");
  EXPECT_EQ(to_string(checks_of("causality+sp_split")), "causality+sp_split");
}

TEST(Checks, RefuseWhatIsNoListOfNames) {
  const auto error_of = [](const std::string& cell) -> std::string {
    try {
      checks_of(cell);
    } catch (const UsageError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(error_of("causalty"),
              HasSubstr("t.csv:2:10: unknown check 'causalty'; it is one of causality,"));
  EXPECT_THAT(error_of("causality+"), HasSubstr("unknown check ''"));
  EXPECT_THAT(error_of("+repeat"), HasSubstr("unknown check ''"));
  EXPECT_THAT(error_of("all+repeat"), HasSubstr("unknown check 'all'"));
  EXPECT_THAT(error_of("repeat+doubling+repeat"), HasSubstr("check repeat is there twice"));
  EXPECT_THAT(error_of("repeat|doubling"), HasSubstr("is already in line 2"));  // the same case
}

TEST(CaseTable, IsReadBackAsItIsWritten) {
  const std::vector<Case> cases = {{.variant = "ring",
                                    .op = Operator::softmax,
                                    .seq = 100,
                                    .heads = 4,
                                    .kv_heads = 2,
                                    .head_dim = 6,
                                    .value_dim = 5,
                                    .window = 9,
                                    .cu_seqlens = {0, 1, 97},
                                    .padding = 3,
                                    .fault = "says \"no\", at #3",
                                    .checks = {Check::causality, Check::documents}},
                                   {.variant = "lasp_naive",
                                    .op = Operator::lightning,
                                    .dtype = DType::fp16,
                                    .math = Math::tf32,
                                    .batch = 2,
                                    .seq = 3,
                                    .dp = 2,
                                    .decay = {.slope = 1e-30F},
                                    .fill = Fill::nan,
                                    .seed = (std::uint64_t{1} << 63) - 1},
                                   {.variant = "ring", .seq = 40, .sp = 2, .causal = false, .sample = 16}};
  const auto operators = [](std::string_view variant) {
    return std::vector{variant == "ring" ? Operator::softmax : Operator::lightning};
  };
  EXPECT_EQ(parse_cases(case_table(cases), "t.csv", operators), cases);
  const std::string table = case_table({cases[2]});
  EXPECT_EQ(table.substr(table.find('\n') + 1),
            "ring,softmax,fp32,fp32,1,40,1,1,1,1,1,2,false,alibi,gaussian,1,16,0,none,0,fp32,none,pass\n");
}

}  // namespace
}  // namespace ringside
