#include <gmock/gmock.h>

#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <string>

#include "harness/dashboard/commands.h"
#include "harness/dashboard/model.h"
#include "harness/dashboard/page.h"
#include "harness/results/results.h"
#include "harness/testing/process.h"
#include "reference/error.h"

namespace ringside {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::ThrowsMessage;

std::string row(const std::string& members) {
  return R"({"schema":3,"name":"a","status":"pass","reason":"","commit":"c","fingerprint":"f",)"
         R"("communicator":"mpi","device":"cpu","world":2,)" +
         members + "}\n";
}

const std::string kRow = row(
    R"("subject":"say \"é\"","started":"2026-01-02T03:04:05Z","machine":{"cpu":"a CPU"},"ftz":true,)"
    R"("case":{"variant":"ring","seq":5,"causal":false,"decay":0.123456789},"findings":[{"tensor":"o","text":"o is wrong"}],)"
    R"("tensors":{"o":{"max_abs":0.1234567891,"bound_share":"inf","elements":12345678901,)"
    R"("worst":{"batch":1,"position":3},"relative_error_by_rank":[0.25,"nan"]}},)"
    R"("perf":{"repeat":3,"forward":{"median_s":0.5},"oversubscribed":true},)"
    R"("ranks":[{"compute_s":1.5,"forward":{"bytes":7},"formula_forward":{"bytes":7}},)"
    R"({"compute_s":2.5,"forward":{"bytes":7},"formula_forward":{"bytes":8}}])");

DashboardModel model_of(const std::string& text) {
  const TempFolder folder;
  DashboardModel model;
  model.add_results(folder.write("results.jsonl", text));
  return model;
}

std::string json_of(const std::string& text) { return model_of(text).json(); }

/// The figures of the first row, by name.
Json figures_of(const std::string& json) {
  const Json model = Json::parse(json);
  const Json &columns = model["columns"]["figures"], &cells = model["rows"][0]["figures"];
  Json all;
  for (std::size_t i = 0; i < columns.size(); ++i) all[columns[i]["name"].get<std::string>()] = cells[i];
  return all;
}

TEST(DashboardJson, HasWhatTheRowHasWithSixDigits) {
  const std::string json = json_of(kRow);
  EXPECT_THAT(json, HasSubstr(R"("name":"a","status":"pass","run":0,)"));
  EXPECT_THAT(json, HasSubstr(R"("case":["ring",null,null,null,null,5,)"));
  EXPECT_THAT(json, HasSubstr("false,0.123457,"));
  EXPECT_THAT(json, HasSubstr(R"("tensors":{"o":[0.123457,null,null,"inf",)"));
  EXPECT_THAT(json, HasSubstr("12345678901"));  // a count keeps all its digits
  EXPECT_THAT(json, HasSubstr(R"([0.25,"nan"])"));
  EXPECT_EQ(figures_of(json).at("repeat"), 3);
  EXPECT_EQ(figures_of(json).at("forward_s"), 0.5);
  EXPECT_EQ(figures_of(json).at("forward_backward_s"), nullptr);
  EXPECT_EQ(figures_of(json).at("oversubscribed"), true);
  EXPECT_THAT(json, HasSubstr(R"("machines":{"f":{"cpu":"a CPU"}})"));
  EXPECT_THAT(json, HasSubstr(R"("subject":"say \"é\"")"));
}

TEST(DashboardJson, SaysOnceWhatRanksShareAndKeepsWhatDiffers) {
  const std::string json = json_of(kRow);
  EXPECT_THAT(json, HasSubstr(",[1.5,2.5],"));
  EXPECT_THAT(json,
              HasSubstr(",[7],[7,8],"));  // what both ranks sent; the formulas, one of which is not kept
}

TEST(DashboardJson, NamesARunOnceForAllItsRows) {
  const std::string json = json_of(kRow + kRow);
  EXPECT_EQ(json.find(R"("started")"), json.rfind(R"("started")"));
  EXPECT_THAT(json, HasSubstr(R"("status":"pass","run":0)"));
  EXPECT_THAT(json, Not(HasSubstr(R"("run":1)")));
}

TEST(DashboardJson, MembersOfAWrongTypeAreNoFigures) {
  const std::string json =
      json_of(row(R"("case":{"variant":7,"seq":"x","dp":[1],"sp":{"a":1}},"findings":"no","checks":3,)"
                  R"("tensors":{"o":5,"dq":{"max_abs":"<script>","worst":[],"failed_by_rank":{"a":1}}},)"
                  R"("perf":[1],"ranks":{"a":1},"machine":"none","subject":["x"],"ftz":"perhaps")"));
  EXPECT_THAT(json, AllOf(Not(HasSubstr("script")), Not(HasSubstr("perhaps")),
                          HasSubstr(R"("findings":[],"checks":{})")));
  EXPECT_THAT(json, HasSubstr(R"("case":[null,null,)"));
  EXPECT_THAT(json, HasSubstr(R"("tensors":{"dq":[null,)"));
  EXPECT_THAT(json, Not(HasSubstr(R"("o":[)")));
  const std::string none = json_of(row(R"("case":{},"tensors":[],"ranks":[5,"x"],"perf":null)"));
  EXPECT_THAT(none, HasSubstr(R"("tensors":{})"));
}

TEST(DashboardJson, ReadsRowsOfTheFirstSchemaAndRefusesTheNext) {
  std::string old = row(R"("case":{})");
  old.replace(old.find("\"schema\":3"), 10, "\"schema\":1");
  EXPECT_THAT(json_of(old), HasSubstr(R"("schema":1)"));
  std::string next = row(R"("case":{})");
  next.replace(next.find("\"schema\":3"), 10, "\"schema\":" + std::to_string(kResultsSchema + 1));
  EXPECT_THAT([&] { json_of(next); }, ThrowsMessage<UsageError>(HasSubstr("schema")));
}

TEST(DashboardJson, HasHistoryAndGate) {
  DashboardModel model = model_of(kRow);
  const Series series = {.name = "a",
                         .figure = "forward_s",
                         .setting = {.fingerprint = "f"},
                         .points = {{"t1", "c1", "one", 0.5}, {"t2", "c2", "two", 1.0 / 3}},
                         .changes = {{.at = 1, .before = 0.5, .after = 0.333}}};
  model.add_history({series, series});
  GateReport gate = {.base = "old", .head = "new"};
  gate.timed.push_back({.name = "a", .verdict = TimeVerdict::slow, .ratio = 1.25});
  gate.exact.push_back({.name = "a", .what = "peak_bytes", .base = "1", .head = "2", .red = true});
  model.add_gate(gate);
  const std::string json = model.json();
  EXPECT_THAT(json, HasSubstr(R"("commits":[["t1","c1","one"],["t2","c2","two"]])"));  // once for both series
  EXPECT_THAT(json, HasSubstr(R"("points":[[0,0.5],[1,0.333333]],"steps":[1])"));
  EXPECT_THAT(json, HasSubstr(R"("verdict":"SLOW","ratio":1.25)"));
  EXPECT_THAT(json, HasSubstr(R"("what":"peak_bytes","base":"1","head":"2","red":true)"));
}

TEST(Page, DataCannotEndTheirElement) {
  const std::string escaped = escape_for_script("</script><!--<script>&\u2028\u2029é\xe2\x80");
  EXPECT_EQ(escaped, R"(\u003c/script\u003e\u003c!--\u003cscript\u003e\u0026\u2028\u2029é)"
                     "\xe2\x80");
  const std::string page = dashboard_page(R"({"a":"</script><script>alert(1)</script>"})");
  EXPECT_THAT(page, Not(HasSubstr("alert(1)</script>")));
  EXPECT_THAT(page, HasSubstr(R"(\u003c/script\u003e\u003cscript\u003ealert(1))"));
}

TEST(Page, LoadsNothingAndNamesTheLicence) {
  const std::string page = dashboard_page("{}");
  EXPECT_THAT(page, HasSubstr("default-src 'none'"));
  EXPECT_THAT(page, AllOf(Not(HasSubstr(" src=")), Not(HasSubstr("<link")), Not(HasSubstr("@import"))));
  EXPECT_THAT(page, AllOf(HasSubstr("Chart.js Contributors"), HasSubstr("The MIT License"),
                          HasSubstr("Permission is hereby granted")));
  EXPECT_THAT(page, AllOf(Not(HasSubstr("@DATA@")), Not(HasSubstr("@SCRIPTS@")), Not(HasSubstr("_HASH")),
                          Not(HasSubstr("innerHTML ="))));
}

class DashboardFile : public ::testing::Test {
 protected:
  /// What the folder holds, in order.
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder_ / ".")) {
      names.push_back(entry.path().filename().string());
    }
    std::ranges::sort(names);
    return names;
  }

  TempFolder folder_;
};

TEST_F(DashboardFile, IsReplacedInOneStep) {
  const std::string results = folder_.write("results.jsonl", kRow + R"({"schema":2,"na)");
  const std::string page = folder_.write("page.html", "old");
  EXPECT_EQ(dashboard({.results = {results, folder_ / "."}, .out = page}), 0);
  EXPECT_THAT(text_of(page), AllOf(HasSubstr("<!DOCTYPE html>"), HasSubstr(R"("torn":[)"
                                                                           "\"" +
                                                                           results)));
  EXPECT_THAT(text_of(page),
              Not(HasSubstr(R"("file":")" + (folder_ / ".") + "\"")));  // a directory's file is named
  EXPECT_THAT(files(), ::testing::ElementsAre("page.html", "results.jsonl"));
  const std::string first = text_of(page);
  dashboard({.results = {results, folder_ / "."}, .out = page});
  EXPECT_EQ(text_of(page), first);  // the same results, the same bytes
}

TEST_F(DashboardFile, NothingIsOverwrittenOnAnError) {
  const std::string results = folder_.write("results.jsonl", kRow);
  const std::string page = folder_.write("page.html", "old");
  const auto refused = [&](const std::vector<std::string>& from, const std::string& to,
                           const std::string& why) {
    EXPECT_THAT([&] { dashboard({.results = from, .out = to}); }, ThrowsMessage<UsageError>(HasSubstr(why)));
  };
  refused({results, folder_ / "missing.jsonl"}, page, "missing.jsonl");
  refused({folder_.write("broken.jsonl", kRow + "{\n" + kRow)}, page, "broken.jsonl:2");
  refused({folder_.write("empty.jsonl", "")}, page, "no results");
  refused({results}, results, "holds the results");
  const std::string report = folder_.write("gate.json", gate_json(GateReport{}));
  EXPECT_THAT([&] { dashboard({.results = {results}, .gates = {report}, .out = report}); },
              ThrowsMessage<UsageError>(HasSubstr("is the gate's report")));
  EXPECT_THAT([&] { dashboard({.results = {results}, .db = page, .out = page}); },
              ThrowsMessage<UsageError>(HasSubstr("is the database")));
  EXPECT_EQ(text_of(report), gate_json(GateReport{}));
  refused({results}, folder_ / ".", "is no file");
  refused({results}, "/dev/null", "is no file");
  refused({results}, folder_ / "no/such/page.html", "cannot be written");
  EXPECT_EQ(text_of(page), "old");
  EXPECT_EQ(text_of(results), kRow);
  EXPECT_THAT(files(), ::testing::ElementsAre("broken.jsonl", "empty.jsonl", "gate.json", "page.html",
                                              "results.jsonl"));
}

TEST_F(DashboardFile, AWriteThatFailsLeavesTheOldPage) {
  const std::string page = folder_.write("page.html", "old");
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 1000;
  setrlimit(RLIMIT_FSIZE, &small);
  EXPECT_THROW(write_page(page, std::string(2000, 'x')), InfrastructureError);
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(text_of(page), "old");
  EXPECT_THAT(files(), ::testing::ElementsAre("page.html"));
}

}  // namespace
}  // namespace ringside
