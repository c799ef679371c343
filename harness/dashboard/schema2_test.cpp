// `ringside dashboard` shows results, a history and gates' reports of schema 2.
#include <gmock/gmock.h>

#include <algorithm>

#include "harness/base/json.h"
#include "harness/testing/program.h"

namespace ringside {
namespace {

class DashboardOfSchema2 : public ::testing::Test {
 protected:
  DashboardOfSchema2() {
    const std::string db = folder_ / "history.db", page = folder_ / "page.html";
    std::filesystem::copy_file(kSchema2 + "/history.db", db);
    const Outcome outcome = run("cd " + kSchema2 + " && " +
                                program("dashboard results.jsonl --gate gate.json --gate gate_timed.json") +
                                " --db " + db + " -o " + page);
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    const std::string text = text_of(page), before = R"(<script type="application/json" id="data">)";
    const std::size_t begin = text.find(before) + before.size();
    model_ = Json::parse(text.substr(begin, text.find("</script>", begin) - begin));
  }

  TempFolder folder_;
  Json model_;
};

TEST_F(DashboardOfSchema2, HasTheVerdictOfEachRow) {
  const auto lines = whole_lines(text_of(kSchema2 + "/results.jsonl"));
  ASSERT_EQ(model_["rows"].size(), lines.size());
  const Json& columns = model_["columns"]["tensor"];
  const auto failed =
      std::ranges::find(columns, "failed", [](const Json& column) { return column["name"]; }) -
      columns.begin();
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const Json row = Json::parse(lines[i]), shown = model_["rows"][i];
    for (const char* same : {"name", "status"}) EXPECT_EQ(shown[same], row[same]);
    EXPECT_EQ(shown["directory"], row.value("directory", Json()));
    Json failures = Json::array(), checks = Json::object();
    for (const Json& finding : shown["findings"]) failures.push_back(finding["text"]);
    for (const auto& [check, made] : shown["checks"].items()) {
      const std::string outcome = made[0], note = made[1];
      checks[check] = outcome + (note.empty() ? "" : ": " + note);
    }
    EXPECT_EQ(failures, row.value("failures", Json::array())) << row["name"];
    EXPECT_EQ(checks, row.value("checks", Json::object())) << row["name"];
    const Json tensors = row.value("tensors", Json::object());
    EXPECT_EQ(shown["tensors"].size(), tensors.size());
    for (const auto& [name, tensor] : tensors.items())
      EXPECT_EQ(shown["tensors"][name].at(static_cast<std::size_t>(failed)), tensor["failed"]) << name;
  }
  EXPECT_EQ(model_["rows"][7]["reason"], "needs 4 ranks (dp 1 x sp 4), there are 2");
}

TEST_F(DashboardOfSchema2, HasHistoryAndGates) {
  std::vector<std::pair<std::size_t, Json>> series;
  for (const Json& s : model_["history"]) series.emplace_back(s["points"].size(), s["steps"]);
  EXPECT_THAT(series, ::testing::ElementsAre(std::pair(1, Json::array()), std::pair(7, Json::array()),
                                             std::pair(1, Json::array()), std::pair(7, Json::array({4}))));
  const Json& gates = model_["gates"];
  ASSERT_EQ(gates.size(), 2U);
  EXPECT_EQ(std::ranges::count(gates[0]["exact"], Json(true), [](const Json& f) { return f["red"]; }), 8);
  EXPECT_EQ(gates[1]["timed"][0]["verdict"], "SAME");
}

}  // namespace
}  // namespace ringside
