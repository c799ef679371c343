// The tables: within 80 columns whatever the figures, the same in colours.
#include "harness/report/table.h"

#include <gmock/gmock.h>

#include <regex>
#include <sstream>

#include "harness/cases/select_cases.h"

namespace ringside {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

/// A result with figures as wide as they come; with `broken` in a tensor, such as no right case has.
CaseResult wide_result(const Case& c, bool broken) {
  CaseResult r{.c = c, .status = broken ? Status::fail : Status::pass, .repeat = 3, .oversubscribed = true};
  r.ranks.resize(static_cast<std::size_t>(c.ranks()));
  for (const Out out : kOuts) {
    TensorVerdict& v = r.tensors[out];
    v.stats.max_abs = 1.36e-10;
    v.stats.max_share = 0.41234;
    v.stats[Count::legacy_elements] = v.stats[Count::telling] = 1;
    v.stats.worst = {.batch = c.batch - 1, .head = c.heads - 1, .token = c.seq - 1, .dim = c.head_dim - 1};
    v.stats.worst.rank = c.ranks() - 1;
    v.mean_abs = v.relative_error = 3.3e-11;
    v.legacy = 0.000123456;
    v.row_share = 0.125;
  }
  if (broken) {
    TensorVerdict& v = r.tensors[Out::dk];
    v.stats.max_share = 574677.924;
    v.row_share = 28361.7;
    v.findings = {{.rule = Rule::row, .where = Element{}}};
  }
  r.forward = r.forward_backward = {.median_s = 12345.6, .min_s = 1, .max_s = 2e4};
  return r;
}

/// Every case of the tables that a new user runs.
std::vector<Case> ordinary_cases() {
  std::vector<Case> all;
  for (const char* file : {"lasp_readme", "smoke", "softmax", "packed"}) {
    const auto cases = select_cases(std::string(RINGSIDE_CASES "/") + file + ".csv", "");
    all.insert(all.end(), cases.begin(), cases.end());
  }
  return all;
}

TEST(Tables, FitEightyColumns) {
  std::vector<CaseResult> results;
  for (const Case& c : ordinary_cases()) results.push_back(wide_result(c, results.size() % 2 == 1));
  const std::string text =
      accuracy_table(results) + performance_table(results) + time_summary({{1}}, 123456) + summary(results);
  for (const std::string& line : lines_of(text)) EXPECT_LE(line.size(), 80U) << line;
  const auto lines = lines_of(accuracy_rows(results.at(1), 1));  // of LASP's table, with a failure
  ASSERT_EQ(lines.size(), 5U);
  for (std::size_t i = 1; i < 5; ++i) EXPECT_EQ(lines[i].size(), 80U) << lines[i];
  EXPECT_THAT(lines[3], AllOf(HasSubstr("FAIL dk "), HasSubstr(" 6e+05 28362 ")));
  EXPECT_THAT(text, AllOf(HasSubstr("12346 s*"), HasSubstr("\n* oversubscribed")));
}

TEST(Tables, AHeadingSaysWhatIsUnusualInACase) {
  const auto first_line = [](const Case& c, const std::string& fault = "") {
    CaseResult r = wide_result(c, false);
    r.c.fault = fault;
    if (!fault.empty()) r.status = Status::xfail;
    return accuracy_rows(r, 7);
  };
  const Case plain{.variant = "ring", .seq = 64, .heads = 4, .kv_heads = 4, .head_dim = 8, .value_dim = 8};
  EXPECT_THAT(first_line(plain), StartsWith("#7 pass ring fp32 dp1 sp1  b1 n64 h4 d8  causal\n"));
  Case c = plain;
  c.dtype = DType::bf16, c.math = Math::tf32, c.kv_heads = 2, c.value_dim = 4, c.fill = Fill::exact;
  c.seed = 9, c.sample = 32, c.window = 5, c.cu_seqlens = {0, 10, 60}, c.padding = 4;
  EXPECT_THAT(first_line(c, "of old"),
              StartsWith("#7 xfail ring bf16/tf32 dp1 sp1  b1 n64 h4/2 d8/4  causal window 5 2 docs\n"
                         "    padding 4 exact seed 9 sample 32  known fault: of old\n"));
  Case lightning = plain;
  lightning.op = Operator::lightning;
  EXPECT_THAT(first_line(lightning), HasSubstr(" d8  alibi\n"));
  lightning.decay.slope = 0.5F;
  EXPECT_THAT(first_line(lightning), HasSubstr(" d8  decay 0.5\n"));
  CaseResult skipped = wide_result(plain, false);
  skipped.status = Status::skip;
  EXPECT_EQ(accuracy_rows(skipped, 1), "");
}

TEST(Tables, ColoursChangeNoText) {
  std::vector<CaseResult> results;
  for (const Case& c : ordinary_cases()) results.push_back(wide_result(c, results.size() % 2 == 1));
  for (const Status status : kStatuses) results[static_cast<std::size_t>(status)].status = status;
  const auto all = [&](Paint paint) {
    return accuracy_table(results, paint) + performance_table(results, paint) + summary(results, {}, paint) +
           failure_report(results[1], "cases.csv", paint);
  };
  const std::string colored = all({true});
  for (const char* part : {"\033[32mpass\033[0m", "\033[1;31mFAIL\033[0m", "\033[1;31mMISTRUSTED\033[0m",
                           "\033[1;31mXPASS\033[0m", "\033[33mxfail\033[0m", "\033[33m1 skipped\033[0m"}) {
    EXPECT_THAT(colored, HasSubstr(part));
  }
  EXPECT_EQ(std::regex_replace(colored, std::regex("\033\\[[0-9;]*m"), ""), all({}));
}

}  // namespace
}  // namespace ringside
