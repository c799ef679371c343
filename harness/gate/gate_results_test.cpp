#include "harness/gate/gate_results.h"

#include <gmock/gmock.h>

#include "harness/testing/process.h"
#include "harness/testing/results.h"
#include "reference/error.h"

namespace ringside {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::ThrowsMessage;

bool all(const std::string&) { return true; }

/// A baseline of the rows' own machines, recorded one after the other.
std::vector<StoredBaseline> recorded(const std::vector<TestRow>& rows) {
  const TempFolder folder;
  const ResultsLog log = read_results(folder.write("results.jsonl", row_lines(rows)));
  std::vector<StoredBaseline> stored = {{.path = "baselines/x/baseline.csv"}};
  for (std::size_t i = 0; i < log.records.size(); ++i) {
    stored[0].baseline.rows.push_back(
        {.record = log.records[i], .recorded = "2026-01-0" + std::to_string(i + 1), .why = "good"});
  }
  return stored;
}

GateReport gated(const std::vector<TestRow>& results, const std::vector<TestRow>& baseline,
                 bool allow_missing = false) {
  const TempFolder folder;
  const ResultsLog log = read_results(folder.write("results.jsonl", row_lines(results)));
  return compare_exact(log, recorded(baseline), allow_missing, all);
}

/// "RED peak_bytes 4096 -> 8192 ring-a".
std::vector<std::string> findings(const GateReport& report) {
  std::vector<std::string> lines;
  for (const ExactFinding& f : report.exact)
    lines.push_back((f.red ? "RED " : "") + f.what + " " + f.base + " -> " + f.head + " " + f.name);
  return lines;
}

TEST(CompareExact, TheSameIsGreen) {
  const GateReport report = gated({{}, {.name = "ring-b"}}, {{}, {.name = "ring-b"}});
  EXPECT_THAT(report.exact, IsEmpty());
  EXPECT_EQ(report.cases, 2);
  EXPECT_THAT(report.names, ElementsAre("ring-a", "ring-b"));
  EXPECT_EQ(report.fingerprint, "0123456789ab");
  EXPECT_THAT(report.base, AllOf(HasSubstr("c0ffee Faster rings"), HasSubstr("good")));
}

TEST(CompareExact, MoreIsRedAndFewerIsTold) {
  EXPECT_THAT(findings(gated({{.peak_bytes = 4097}}, {{}})),
              ElementsAre("RED peak_bytes 4096 -> 4097 ring-a"));
  EXPECT_THAT(findings(gated({{.forward_bytes = 1025}}, {{}})),
              ElementsAre("RED forward_bytes 1024 -> 1025 ring-a"));
  const GateReport fewer = gated({{.peak_bytes = 4095}}, {{}});
  EXPECT_THAT(findings(fewer), ElementsAre("peak_bytes 4096 -> 4095 ring-a"));
  EXPECT_THAT(fewer.notes, Contains(HasSubstr("record a new baseline with a reason")));
}

TEST(CompareExact, AFigureThatIsGoneIsRedAndANewOneIsTold) {
  EXPECT_THAT(findings(gated({{.peak_bytes = {}}}, {{}})), ElementsAre("RED peak_bytes 4096 -> none ring-a"));
  const GateReport report = gated({{}}, {{.peak_bytes = {}}});
  EXPECT_THAT(report.exact, IsEmpty());
  EXPECT_THAT(report.notes, Contains("peak_bytes: the baseline does not have it in 1 case"));
}

TEST(CompareExact, AWrongResultIsRedWhateverTheBaselineSays) {
  for (const char* status : {"FAIL", "MISTRUSTED", "XPASS"}) {
    EXPECT_THAT(findings(gated({{.status = status, .reason = "dq is wrong"}}, {{}})),
                ElementsAre(std::string("RED status pass -> ") + status + ": dq is wrong ring-a"));
    EXPECT_THAT(findings(gated({{}, {.name = "new", .status = status}}, {{}})),
                ElementsAre(std::string("RED status none -> ") + status + " new"));
  }
}

TEST(CompareExact, AKnownFaultIsWorseThanAPass) {
  EXPECT_THAT(findings(gated({{.status = "xfail"}}, {{}})), ElementsAre("RED status pass -> xfail ring-a"));
  EXPECT_THAT(findings(gated({{}}, {{.status = "xfail"}})), ElementsAre("status xfail -> pass ring-a"));
  EXPECT_THAT(findings(gated({{.status = "xfail"}}, {{.status = "xfail"}})), IsEmpty());
}

TEST(CompareExact, ACaseThatIsGoneOrSkippedIsRedUnlessAllowed) {
  const std::vector<TestRow> both = {{}, {.name = "ring-b"}};
  const std::vector<TestRow> skipping = {{}, {.name = "ring-b", .status = "skip", .reason = "needs 8 ranks"}};
  EXPECT_THAT(findings(gated({{}}, both)), ElementsAre("RED status pass -> absent ring-b"));
  EXPECT_THAT(findings(gated({{}}, both, true)), ElementsAre("status pass -> absent ring-b"));
  EXPECT_THAT(findings(gated(skipping, both)), ElementsAre("RED status pass -> skip: needs 8 ranks ring-b"));
  EXPECT_THAT(findings(gated(skipping, both, true)),
              ElementsAre("status pass -> skip: needs 8 ranks ring-b"));
  // of a row of each, one that ran is enough
  EXPECT_THAT(findings(gated({skipping[1], both[0], both[1]}, both)), IsEmpty());
}

TEST(CompareExact, CasesOfOtherPlacesAreNotMissed) {
  const TestRow mpi = {.name = "ring-m", .communicator = "mpi", .world = 4};
  const TestRow cuda = {.name = "ring-c", .device = "cuda"};
  EXPECT_THAT(findings(gated({{}}, {{}, mpi, cuda})), IsEmpty());
  EXPECT_THAT(findings(gated({{}, {.name = "ring-x", .communicator = "mpi", .world = 4}}, {{}, mpi, cuda})),
              ElementsAre("RED status pass -> absent ring-m"));
  const GateReport report = gated({{.communicator = "mpi", .world = 2}}, {{}});
  EXPECT_THAT(report.notes,
              Contains("the baseline has nothing of cpu, mpi, world 2: no case of it can be missed"));
}

TEST(CompareExact, OneMachineSpeaksForItselfOthersOnlyWhereItIsSilent) {
  const TestRow own = {}, other = {.name = "ring-b", .fingerprint = "another"};
  EXPECT_THAT(findings(gated({own}, {own, other})), IsEmpty());
  EXPECT_THAT(findings(gated({{.fingerprint = "third"}}, {own, other})),
              ElementsAre("RED status pass -> absent ring-b"));
}

TEST(CompareExact, TrafficHoldsEverywhereThePeakOnlyOnItsDeviceAndCommunicator) {
  const TestRow worse = {.fingerprint = "x", .forward_bytes = 1025, .peak_bytes = 8192};
  TestRow on_cuda = worse, under_mpi = worse;
  on_cuda.device = "cuda";
  under_mpi.communicator = "mpi";
  EXPECT_THAT(findings(gated({worse}, {{}})),
              ElementsAre("RED forward_bytes 1024 -> 1025 ring-a", "RED peak_bytes 4096 -> 8192 ring-a"));
  EXPECT_THAT(findings(gated({on_cuda}, {{}})), ElementsAre("RED forward_bytes 1024 -> 1025 ring-a"));
  EXPECT_THAT(findings(gated({under_mpi}, {{}})), ElementsAre("RED forward_bytes 1024 -> 1025 ring-a"));
}

TEST(CompareExact, TheNearestRowCounts) {
  const TestRow head = {.peak_bytes = 4096};
  const TestRow mpi = {.communicator = "mpi", .peak_bytes = 1}, cuda = {.device = "cuda", .peak_bytes = 2};
  const TestRow elsewhere = {.fingerprint = "x", .peak_bytes = 3};
  EXPECT_THAT(findings(gated({head}, {mpi, elsewhere, head, cuda})), IsEmpty());
  EXPECT_THAT(findings(gated({head}, {cuda, mpi, elsewhere})),
              ElementsAre("RED peak_bytes 3 -> 4096 ring-a"));
  // of two other machines the one that was recorded last
  const TestRow later = {.fingerprint = "a", .peak_bytes = 4};
  EXPECT_THAT(findings(gated({head}, {elsewhere, later})), ElementsAre("RED peak_bytes 4 -> 4096 ring-a"));
  EXPECT_THAT(findings(gated({head}, {later, elsewhere})), ElementsAre("RED peak_bytes 3 -> 4096 ring-a"));
}

TEST(CompareExact, TimesAndSharesAreNotesOfTheSameMachineOnly) {
  const TestRow slow = {.share = 0.75, .tokens_per_s = 500};
  const GateReport same = gated({slow}, {{}});
  EXPECT_THAT(same.exact, IsEmpty());
  EXPECT_THAT(same.notes, Contains("o_bound_share: 0.25 -> 0.75 of its bound, not judged: ring-a"));
  EXPECT_THAT(same.notes, Contains("throughput 0.500 of the baseline's, whose iterations spread from 0.800 "
                                   "to 1.111: ring-a"));
  const GateReport within = gated({{.tokens_per_s = 810}}, {{}});  // the slowest then: 800
  EXPECT_THAT(within.notes, Contains(HasSubstr("0.810 of the baseline's in the median of 1 case")));
  EXPECT_THAT(within.notes, Each(Not(HasSubstr("iterations spread"))));
  for (TestRow elsewhere : {TestRow{.fingerprint = "x"}, TestRow{.communicator = "mpi"},
                            TestRow{.device = "cuda"}, TestRow{.world = 2}}) {
    elsewhere.share = 0.75;
    elsewhere.tokens_per_s = 500;
    const GateReport other = gated({elsewhere}, {{}}, true);
    EXPECT_THAT(other.notes, Each(AllOf(Not(HasSubstr("throughput")), Not(HasSubstr("of its bound")))));
    EXPECT_THAT(other.notes, Contains(HasSubstr("times and shares of bounds of 1 case not compared")));
  }
  TestRow crowded = slow;
  crowded.oversubscribed = true;
  const GateReport busy = gated({crowded}, {{}});
  EXPECT_THAT(busy.notes, Each(Not(HasSubstr("throughput"))));
  EXPECT_THAT(busy.notes, Contains("times of 1 case not compared: more ranks than cores"));
  EXPECT_THAT(busy.notes, Contains(HasSubstr("o_bound_share: 0.25 -> 0.75")));
}

TEST(CompareExact, OnlyTheLargestRisesAreTold) {
  std::vector<TestRow> before, now;
  for (int i = 0; i < 5; ++i) {
    before.push_back({.name = "ring-" + std::to_string(i)});
    now.push_back({.name = "ring-" + std::to_string(i), .share = 0.25 + 0.1 * i});
  }
  std::vector<std::string> rises;
  for (const std::string& note : gated(now, before).notes) {
    if (note.find("of its bound") != note.npos) rises.push_back(note);
  }
  EXPECT_THAT(rises, ElementsAre(HasSubstr("ring-4"), HasSubstr("ring-3"), HasSubstr("ring-2")));
}

TEST(CompareExact, ANewCaseIsANote) {
  const GateReport report = gated({{}, {.name = "ring-new"}}, {{}});
  EXPECT_THAT(report.exact, IsEmpty());
  EXPECT_EQ(report.cases, 1);
  EXPECT_THAT(report.notes, Contains("1 case without a baseline, the first of them ring-new"));
}

TEST(CompareExact, NothingInCommonIsNoComparison) {
  EXPECT_THAT([] { gated({{.name = "x"}}, {{}}); }, ThrowsMessage<UsageError>(HasSubstr("baseline record")));
}

TEST(CompareExact, TheFilterGoesForBothSides) {
  const TempFolder folder;
  const std::vector<TestRow> rows = {{}, {.name = "usp-a"}, {.name = "usp-b", .status = "FAIL"}};
  const ResultsLog log = read_results(folder.write("r", row_lines({rows[0], rows[2]})));
  const auto baselines = recorded({rows[0], rows[1]});
  const auto only = [&](const std::string& start) {
    return compare_exact(log, baselines, false,
                         [&](const std::string& name) { return name.starts_with(start); });
  };
  EXPECT_THAT(only("ring").exact, IsEmpty());
  EXPECT_THAT([&] { only("none"); }, ThrowsMessage<UsageError>(HasSubstr("--filter")));
  EXPECT_EQ(findings(compare_exact(log, baselines, false, all)).size(), 2U);
}

}  // namespace
}  // namespace ringside
