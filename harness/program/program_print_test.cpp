// Tests the program's printed tables.
#include <gmock/gmock.h>

#include <chrono>
#include <map>
#include <regex>

#include "harness/base/json.h"
#include "harness/cases/case_file.h"
#include "harness/testing/program.h"

namespace ringside {
namespace {

using ::testing::HasSubstr;

TEST(Explain, SaysWhatEveryBoundIsMadeOf) {
  for (const std::string launch : {"", "launch -n 2 -- "}) {
    const Outcome outcome =
        ringside(launch + "explain " + kSmoke +
                 " --filter '^(lasp_naive|ring)-[a-z]+-(fp32|bf16)-.*dp1-sp[24]-(full|causal-alibi)'");
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_EQ(outcome.err, "");
    std::map<std::string, int> lines;
    for (const std::string& line : whole_lines(outcome.out)) {
      for (const char* part :
           {": pass", ": skipped: needs 4 ranks", "  o: batch", "  dq: batch", "  dk: batch", "  dv: batch",
            "got ", " bound ", " accumulation ", " storage ", " underflow ", " row limit: ", " bias "}) {
        if (line.find(part) != std::string::npos) ++lines[part];
      }
    }
    const int ran = launch.empty() ? 8 : 4;  // 2 variants, 2 dtypes, on 2 and 4 ranks
    EXPECT_EQ(lines[": pass"], ran) << outcome.out;
    EXPECT_EQ(lines[": skipped: needs 4 ranks"], 8 - ran);
    for (const char* tensor : {"  o: batch", "  dq: batch", "  dk: batch", "  dv: batch"})
      EXPECT_EQ(lines[tensor], ran);
    for (const char* term :
         {"got ", " bound ", " accumulation ", " storage ", " underflow ", " row limit: ", " bias "}) {
      EXPECT_EQ(lines[term], 4 * ran) << term;
    }
  }
}

/// The seconds of all rows' phases.
double seconds_of_rows(const std::string& results) {
  double seconds = 0;
  for (const std::string& line : whole_lines(text_of(results))) {
    const auto row = Json::parse(line);
    for (const auto& [phase, value] : row.at("wall").items()) {
      EXPECT_GE(value, 0) << phase;
      seconds += value.get<double>();
    }
    EXPECT_GT(row.at("wall").at("variant_s"), 0);
    EXPECT_GT(row.at("wall").at("inputs_s"), 0);
  }
  return seconds;
}

TEST(Sweep, SaysWhereTheTimeWentAndCountsNoSecondTwice) {
  for (const std::string launch : {"", "launch -n 4 -- "}) {  // one process with many ranks, many with one
    const TempFolder folder;
    const auto start = std::chrono::steady_clock::now();
    const Outcome outcome = ringside(launch + "sweep " + kSmoke + " --filter sp4 --out " + folder / "out");
    const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - start;
    ASSERT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_LE(seconds_of_rows(folder / "out/results.jsonl"), wall.count());

    std::smatch shares;
    const std::regex line(
        R"(where the time went \(.* m?s\): reference (\d+)%, variants (\d+)%, inputs (\d+)%, comparison (\d+)%, checks (\d+)%, set-up (\d+)%, output (\d+)%, the rest (\d+)%)");
    const std::string out = unwrapped(outcome.out);
    ASSERT_TRUE(std::regex_search(out, shares, line)) << out;
    int percent = 0;
    for (std::size_t i = 1; i < shares.size(); ++i) percent += std::stoi(shares[i]);
    EXPECT_NEAR(percent, 100, 4);  // eight shares, each rounded by at most a half
  }
}

TEST(Sweep, ChecksPropertiesAndSaysWhatCameOfEach) {
  for (const std::string launch : {"", "launch -n 4 -- "}) {
    const TempFolder folder;
    const Outcome outcome =
        ringside(launch + "sweep " + kCases + "/properties.csv --no-perf --out " + folder / "out" +
                 " --filter '(ring_zigzag|ulysses)-softmax-bf16-fp32-b2-n149-.*-dp1-sp3-causal-.*-cu'");
    ASSERT_EQ(outcome.status, 0) << outcome.out << outcome.err;
    int ran = 0;
    for (const std::string& line : whole_lines(text_of(folder / "out/results.jsonl"))) {
      const auto row = Json::parse(line);
      ++ran;
      ASSERT_EQ(row.at("checks").size(), kChecks.size());
      std::size_t i = 0;
      for (const auto& [name, outcome_of] : row.at("checks").items()) {
        EXPECT_EQ(name, to_string(kChecks[i]));
        const bool late = launch.empty() || kChecks[i] != Check::repeat;
        const bool room = launch.empty() || kChecks[i] != Check::dp_split;  // for twice the ranks
        EXPECT_EQ(outcome_of.at("outcome"), room ? "ok" : "skipped") << row.at("name") << ' ' << name;
        EXPECT_EQ(outcome_of.value("note", ""),
                  !room  ? "there is no other dp that divides the batch and has its ranks here"
                  : late ? ""
                         : "messages came as MPI brings them, not late");
        ++i;
      }
      EXPECT_GT(row.at("wall").at("checks_s"), 0);
    }
    EXPECT_EQ(ran, 2);
  }
}

TEST(List, NamesWhatThereIsOnceEvenOnManyRanks) {
  const Outcome alone = ringside("list");
  EXPECT_EQ(alone.status, 0);
  for (const char* name : {"variants", "lightning", "lasp_naive", "ring", "devices", "cpu", "communicators",
                           "threads", "mpi", "nccl", "checks", "causality", "sp_split"}) {
    EXPECT_THAT(alone.out, HasSubstr(name));
  }
  for (const CaseColumn& column : case_columns()) {
    EXPECT_THAT(alone.out, HasSubstr("\n  " + std::string(column.name) + " "));
  }
  const Outcome launched = ringside("launch -n 3 list");
  EXPECT_EQ(launched.status, 0) << launched.err;
  EXPECT_EQ(launched.out, alone.out);
}

}  // namespace
}  // namespace ringside
