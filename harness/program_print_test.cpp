// What the program prints for people: explain and list.
#include <gmock/gmock.h>

#include <map>

#include "harness/case_file.h"
#include "harness/test_program.h"

namespace ringside {
namespace {

using ::testing::HasSubstr;

const std::string kCases = RINGSIDE_CASES;

TEST(Explain, SaysWhatEveryBoundIsMadeOf) {
  for (const std::string launch : {"", "launch -n 2 -- "}) {
    const Outcome outcome =
        ringside(launch + "explain " + kCases + "/smoke.csv --filter 'dp1-sp[24]-(full|causal-alibi)'");
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

TEST(List, NamesWhatThereIsOnceEvenOnManyRanks) {
  const Outcome alone = ringside("list");
  EXPECT_EQ(alone.status, 0);
  for (const char* name :
       {"variants", "lightning", "lasp_naive", "ring", "devices", "cpu", "communicators", "threads", "mpi"}) {
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
