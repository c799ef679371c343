// `ringside history` reads a database with rows of schema 2, and takes more of them.
#include <gmock/gmock.h>

#include <map>

#include "harness/base/json.h"
#include "harness/testing/program.h"

namespace ringside {
namespace {

class HistoryOfSchema2 : public ::testing::Test {
 protected:
  HistoryOfSchema2() { std::filesystem::copy_file(kSchema2 + "/history.db", db_); }
  Outcome history(const std::string& action) const { return ringside("history " + action + " --db " + db_); }

  TempFolder folder_;
  const std::string db_ = folder_ / "history.db";
};

TEST_F(HistoryOfSchema2, ListsItsRunsAndSteps) {
  EXPECT_EQ(history("list").out, text_of(kSchema2 + "/history.txt"));
}

TEST_F(HistoryOfSchema2, ExportsItsRows) {
  const Json rows = Json::parse(history("export --json").out);
  std::map<std::string, int> statuses;
  for (const Json& row : rows) ++statuses[row["status"]];
  EXPECT_EQ(statuses, (std::map<std::string, int>{{"pass", 16}, {"FAIL", 4}, {"skip", 7}}));
  const Json &first = rows[0], &figures = first["figures"];
  EXPECT_EQ(first["world"], 2);
  EXPECT_EQ(first["machine"]["cpu"], "AMD EPYC");
  EXPECT_EQ(figures["forward_bytes"], 768);
  EXPECT_EQ(figures["peak_bytes"], 3584);
  EXPECT_EQ(figures["o_bound_share"], 0.027287516534634872);
  EXPECT_EQ(figures["forward_backward_s"], 0.00013650384615384613);
}

TEST_F(HistoryOfSchema2, TakesMoreRuns) {
  const Outcome added = history("add " + kSchema2 + "/results.jsonl");
  EXPECT_EQ(added.status, 0) << added.err;
  EXPECT_THAT(added.out, ::testing::StartsWith("10 rows of 3 runs added to "));
  EXPECT_THAT(history("list").out, ::testing::HasSubstr(" since 000005000005 (Change 5), 8 points\n"));
}

}  // namespace
}  // namespace ringside
