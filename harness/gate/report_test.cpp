#include "harness/gate/report.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <pugixml.hpp>
#include <sstream>

#include "harness/base/files.h"
#include "harness/base/json.h"
#include "harness/testing/process.h"
#include "reference/error.h"

namespace ringside {
namespace {

using namespace std::string_literals;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
ExactFinding exact(const std::string& name, bool red) {
  return {.name = name, .what = "peak_bytes", .base = "4096", .head = red ? "8192" : "2048", .red = red};
}

TimedFinding timed(const std::string& name, TimeVerdict verdict, double ratio = 1.01) {
  return {.name = name,
          .verdict = verdict,
          .ratio = ratio,
          .low = 0.99,
          .high = 1.2,
          .p = 0.0004,
          .delta = 0.03,
          .rounds = 15,
          .contaminated = 2,
          .base_s = 0.0123,
          .head_s = 0.0134,
          .why = "interval above delta"};
}

GateReport small() {
  GateReport report;
  report.base = "aaaa Base";
  report.head = "bbbb Head";
  report.fingerprint = "0123456789ab";
  report.seed = 42;
  report.cases = 3;
  report.names = {"ring-a", "ring-b", "ring-c"};
  return report;
}

/// Names that break out of Markdown, HTML, XML, a table or a terminal where they can.
const std::string kHostile = "</code><script>alert(1)</script>|`x`\"'&amp;\n| a |\x1b[31m\x01\xff@all]]>";

TEST(ExitStatus, IsThatOfTheWorstFinding) {
  GateReport report = small();
  EXPECT_EQ(exit_status(report, true), 0);
  report.timed = {timed("a", TimeVerdict::same), timed("b", TimeVerdict::fast)};
  report.history = {{.name = "a", .slower = true}};
  report.exact = {exact("a", false)};
  EXPECT_EQ(exit_status(report, true), 0);
  for (const TimeVerdict open : {TimeVerdict::ambiguous, TimeVerdict::contaminated}) {
    report.timed[1].verdict = open;
    EXPECT_EQ(exit_status(report, false), 0);
    EXPECT_EQ(exit_status(report, true), 4);
  }
  report.timed[0].verdict = TimeVerdict::slow;
  EXPECT_EQ(exit_status(report, false), 3);
  EXPECT_EQ(exit_status(report, true), 3);
  report.exact.push_back(exact("b", true));
  EXPECT_EQ(exit_status(report, false), 1);
}

TEST(GateTable, IsAlignedWorstFirstAndEndsWithTheVerdict) {
  GateReport report = small();
  report.exact = {exact("ring-a", false),
                  exact("ring-b", true),
                  {"ring-c", "status", "pass", "FAIL: dq: 3 elements beyond their bound", true}};
  report.timed = {timed("ring-a", TimeVerdict::same), timed("ring-b", TimeVerdict::slow, 1.083)};
  report.history = {{"ring-a", "forward_s", 0.0123, 0.0134, "1f2e", 24, true}};
  report.notes = {"1 case without a baseline"};
  EXPECT_EQ(gate_table(report),
            "base  aaaa Base\n"
            "head  bbbb Head\n"
            "      machine 0123456789ab, seed 42\n"
            "\n"
            "  exact   figure      base  head  case\n"
            "  RED     status      pass  FAIL  ring-c: dq: 3 elements beyond their bound\n"
            "  RED     peak_bytes  4096  8192  ring-b\n"
            "  better  peak_bytes  4096  2048  ring-a\n"
            "\n"
            "  times in pairs  ratio                 rounds    base -> head        case\n"
            "  SLOW            1.083 [0.990, 1.200]  15 of 17  12.3 ms -> 13.4 ms  ring-b: p "
            "0.0004, delta 3.0%; interval above delta\n"
            "  SAME            1.010 [0.990, 1.200]  15 of 17  12.3 ms -> 13.4 ms  ring-a\n"
            "\n"
            "  history  figure     last step                                 case\n"
            "  slower   forward_s  12.3 ms -> 13.4 ms since 1f2e, 24 points  ring-a\n"
            "\n"
            "note: 1 case without a baseline\n"
            "\n"
            "RED (exit status 1): 2 cases wrong, missing or worse than the base; 3 cases compared\n");
}

TEST(GateTable, SaysWhatTheVerdictIs) {
  GateReport report = small();
  EXPECT_THAT(gate_table(report), ::testing::EndsWith("\nOK (exit status 0): nothing is worse in 3 cases\n"));
  report.timed = {timed("a", TimeVerdict::contaminated)};
  EXPECT_THAT(verdict_line(report), HasSubstr("OPEN (exit status 0, 4 with --strict): the times of 1 of 3"));
  report.timed.push_back(timed("a", TimeVerdict::slow));
  EXPECT_EQ(verdict_line(report), "SLOW (exit status 3): 1 of 3 cases");
}

GateReport hostile() {
  GateReport report = small();
  report.base = report.head = report.fingerprint = kHostile;
  report.names = {kHostile};
  report.exact = {{kHostile, kHostile, kHostile, kHostile, true}, exact("fine", false)};
  TimedFinding slow = timed(kHostile, TimeVerdict::slow, INFINITY);
  slow.why = kHostile;
  slow.p = NAN;
  slow.base_s = 1e-9;
  slow.head_s = INFINITY;
  report.timed = {slow, timed("open", TimeVerdict::ambiguous, NAN), timed("fine", TimeVerdict::fast)};
  report.history = {{kHostile, kHostile, NAN, INFINITY, kHostile, 3, true}};
  report.notes = {kHostile};
  return report;
}

TEST(GateTable, ACaseWithTooFewRoundsHasNoRatio) {
  GateReport report = small();
  report.timed = {{.name = "ring-a", .verdict = TimeVerdict::contaminated, .rounds = 3, .contaminated = 8}};
  EXPECT_THAT(gate_table(report), AllOf(HasSubstr("3 of 11"), Not(HasSubstr("1.000"))));
}

TEST(GateTable, HostileTextStaysInItsLine) {
  const std::string table = gate_table(hostile());
  for (const char c : table) EXPECT_TRUE(static_cast<unsigned char>(c) >= 0x20 || c == '\n');
  EXPECT_THAT(table, AllOf(HasSubstr("\\n| a |\\x1b[31m\\x01\\xff@all"), HasSubstr("inf [0.990"),
                           HasSubstr("nan [0.990")));
  EXPECT_EQ(std::ranges::count(table, '\n'), 19);
}

TEST(GateMarkdown, ShowsWhatIsRedAndFoldsTheRest) {
  GateReport report = small();
  report.exact = {exact("ring-a", false), exact("ring-b", true)};
  report.timed = {timed("ring-a", TimeVerdict::same), timed("ring-b", TimeVerdict::slow)};
  report.notes = {"a note"};
  const std::string text = gate_markdown(report);
  EXPECT_THAT(text, ::testing::StartsWith("### RED (exit status 1): 1 case wrong"));
  EXPECT_THAT(text, HasSubstr("exact: 1 red, 1 better; times: 1 SLOW, 1 SAME\n"));
  EXPECT_THAT(text, HasSubstr("\n**Wrong, missing or worse (1)**\n\n| case | figure | base | head |\n"
                              "| --- | --- | --- | --- |\n"
                              "| <code>ring-b</code> | <code>peak_bytes</code> | <code>4096</code> | "
                              "<code>8192</code> |\n"));
  EXPECT_THAT(text, HasSubstr("\n**Slower (1)**\n\n"));
  EXPECT_LT(text.find("Slower"), text.find("<details>"));
  EXPECT_THAT(text, HasSubstr("<details><summary>Better: record a new baseline with a reason (1)</summary>"));
  EXPECT_THAT(text, HasSubstr("<details><summary>Notes (1)</summary>"));
  EXPECT_THAT(text, Not(HasSubstr("Inconclusive")));
}

TEST(GateMarkdown, HostileTextIsInert) {
  const std::string text = gate_markdown(hostile());
  EXPECT_THAT(text, AllOf(Not(HasSubstr("<script")), Not(HasSubstr("@")), Not(HasSubstr("`")),
                          Not(HasSubstr("\x1b")), HasSubstr("&#60;script&#62;alert(1)")));
  std::istringstream lines(text);
  int rows = 0;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("| <code>&#60;")) continue;
    ++rows;
    const auto bars = std::ranges::count(line, '|');
    EXPECT_TRUE(bars == 2 || bars == 5) << line;  // of a note, of an exact finding or a step
  }
  EXPECT_EQ(rows, 3);
}

TEST(GateMarkdown, StaysShortEnoughForAComment) {
  GateReport report = small();
  for (int i = 0; i < 1000; ++i) report.exact.push_back(exact(std::string(100, 'x'), true));
  const std::string text = gate_markdown(report);
  EXPECT_THAT(text, HasSubstr("… and 900 more"));
  EXPECT_LT(text.size(), 65536U);
}

TEST(GateJson, HasEverything) {
  const Json all = Json::parse(gate_json(hostile()));
  EXPECT_EQ(all["schema"], 1);
  EXPECT_EQ(all["status"], 1);
  EXPECT_EQ(all["strict_status"], 1);
  EXPECT_EQ(all["seed"], 42);
  EXPECT_EQ(all["cases"], 3);
  ASSERT_EQ(all["exact"].size(), 2U);
  EXPECT_THAT(all["exact"][0]["name"].get<std::string>(), HasSubstr("<script>alert(1)</script>"));
  EXPECT_EQ(all["exact"][0]["red"], true);
  ASSERT_EQ(all["timed"].size(), 3U);
  EXPECT_EQ(all["timed"][0]["verdict"], "SLOW");
  EXPECT_EQ(all["timed"][0]["ratio"], "inf");
  EXPECT_EQ(all["timed"][0]["p"], "nan");
  EXPECT_EQ(all["timed"][2]["delta"], 0.03);
  EXPECT_EQ(all["history"][0]["after"], "inf");
  EXPECT_EQ(all["notes"].size(), 1U);
  EXPECT_EQ(Json::parse(gate_json(small()))["verdict"], "OK (exit status 0): nothing is worse in 3 cases");
}

TEST(GateJunit, HasASuiteForEachLayerAndATestForEachCase) {
  GateReport report = small();
  report.exact = {exact("ring-a", false), exact("ring-b", true), exact("ring-b", false)};
  report.timed = {timed("ring-a", TimeVerdict::same), timed("ring-b", TimeVerdict::slow),
                  timed("ring-c", TimeVerdict::ambiguous)};
  report.history = {{"ring-a", "forward_s", 1, 2, "1f2e", 24, true}};
  pugi::xml_document document;
  ASSERT_TRUE(document.load_string(gate_junit(report).c_str()));
  const auto root = document.child("testsuites");
  EXPECT_EQ(root.attribute("tests").as_int(), 7);
  EXPECT_EQ(root.attribute("failures").as_int(), 2);
  EXPECT_EQ(root.attribute("skipped").as_int(), 1);
  EXPECT_EQ(root.attribute("errors").as_int(-1), 0);
  const auto suite = [&](const char* name) {
    return root.find_child_by_attribute("testsuite", "name", name);
  };
  const auto of = [](pugi::xml_node from, const char* name) {
    return from.find_child_by_attribute("testcase", "name", name);
  };
  const auto a = suite("ringside.gate.exact");
  EXPECT_EQ(a.attribute("tests").as_int(), 3);
  EXPECT_EQ(a.attribute("failures").as_int(), 1);
  EXPECT_STREQ(of(a, "ring-b").child("failure").attribute("message").value(), "peak_bytes: 4096 -> 8192");
  EXPECT_THAT(of(a, "ring-a").child("system-out").text().get(), HasSubstr("better peak_bytes: 4096 -> 2048"));
  EXPECT_FALSE(of(a, "ring-c").first_child());
  EXPECT_STREQ(of(a, "ring-c").attribute("classname").value(), "ringside.gate.exact");
  const auto b = suite("ringside.gate.times");
  EXPECT_EQ(b.attribute("skipped").as_int(), 1);
  EXPECT_TRUE(of(b, "ring-b").child("failure"));
  EXPECT_THAT(of(b, "ring-c").child("skipped").attribute("message").value(), HasSubstr("AMBIGUOUS 1.010"));
  EXPECT_FALSE(of(b, "ring-a").child("failure"));
  EXPECT_EQ(suite("ringside.gate.history").attribute("failures").as_int(), 0);
  EXPECT_TRUE(of(suite("ringside.gate.history"), "ring-a forward_s"));
  const auto seed = b.child("properties").find_child_by_attribute("property", "name", "seed");
  EXPECT_STREQ(seed.attribute("value").value(), "42");
}

TEST(GateJunit, HostileTextIsTextAndXmlCanHoldIt) {
  const std::string xml = gate_junit(hostile());
  for (const char c : xml) EXPECT_TRUE(static_cast<unsigned char>(c) >= 0x20 || c == '\n');
  EXPECT_THAT(xml, AllOf(Not(HasSubstr("<script>")), Not(HasSubstr("&#1;")), Not(HasSubstr("&#27;"))));
  pugi::xml_document document;
  ASSERT_TRUE(document.load_string(xml.c_str()));
  EXPECT_TRUE(document.child("testsuites")
                  .child("testsuite")
                  .find_child_by_attribute(
                      "testcase", "name",
                      R"(</code><script>alert(1)</script>|`x`"'&amp;\n| a |\x1b[31m\x01\xff@all]]>)"));
}

TEST(GateJunit, SaysWhereItCannotBeWritten) {
  const TempFolder folder;
  EXPECT_THROW(write_text(gate_junit(small()), folder / "none/junit.xml"), UsageError);
  EXPECT_THROW(write_text(gate_junit(small()), "/dev/full"), InfrastructureError);
  folder.write("junit.xml", std::string(100'000, 'x'));
  write_text(gate_junit(small()), folder / "junit.xml");
  EXPECT_EQ(text_of(folder / "junit.xml"), gate_junit(small()));
}

TEST(ReadGateReport, GivesWhatWasWritten) {
  const TempFolder folder;
  for (const GateReport& report : {hostile(), small(), GateReport{}}) {
    const std::string json = gate_json(report);
    EXPECT_EQ(gate_json(read_gate_report(folder.write("gate.json", json))), json);
  }
}

TEST(ReadGateReport, RefusesWhatItDoesNotKnow) {
  const TempFolder folder;
  const auto refusal = [&](const std::string& member, const std::string& value) {
    Json json = Json::parse(gate_json(small()));
    if (value.empty())
      json.erase(member);
    else
      json[member] = Json::parse(value);
    try {
      read_gate_report(folder.write("g", json.dump()));
    } catch (const UsageError& error) {
      return std::string(error.what());
    }
    return std::string("taken");
  };
  EXPECT_EQ(refusal("base", R"("x")"), "taken");
  EXPECT_THAT(refusal("base", ""), HasSubstr("base is missing"));
  EXPECT_THAT(refusal("base", "7"), HasSubstr("base is of the wrong type"));
  EXPECT_THAT(refusal("cases", "1.5"), HasSubstr("cases: no whole number"));
  EXPECT_THAT(refusal("timed", "{}"), HasSubstr("timed: no list"));
  EXPECT_THAT(refusal("timed", "[{}]"), HasSubstr("timed: name is missing"));
  EXPECT_THAT(refusal("schema", "99"), HasSubstr("schema 99"));
  EXPECT_THAT([&] { read_gate_report(folder.write("g", "[1")); },
              ThrowsMessage<UsageError>(HasSubstr("no report")));
}

}  // namespace
}  // namespace ringside
