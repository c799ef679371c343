#include "harness/history/history.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>

#include "harness/gate/history_findings.h"
#include "harness/testing/history.h"
#include "reference/error.h"

namespace ringside {
namespace {

using ::testing::AllOf;
using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Optional;
using ::testing::SizeIs;
using ::testing::ThrowsMessage;

class HistoryTest : public ::testing::Test {
 protected:
  ResultsLog log(const std::vector<HistoryRow>& rows) const {
    return read_results(folder_.write("results.jsonl", lines_of(rows)));
  }
  Added add(const std::vector<HistoryRow>& rows) const { return writing().add(log(rows)); }
  History writing() const { return History(db_, Database::Access::write); }
  History reading() const { return History(db_, Database::Access::read); }
  std::vector<Series> series(const SeriesQuery& query = {}) const { return reading().series(query); }
  std::vector<History::Row> rows() const {
    std::vector<History::Row> all;
    reading().each_row([&](const History::Row& row) { all.push_back(row); });
    return all;
  }

  TempFolder folder_;
  const std::string db_ = folder_ / "history.db";
};

auto adds(std::int64_t rows, std::int64_t runs, std::int64_t already) {
  return AllOf(Field(&Added::rows, rows), Field(&Added::runs, runs), Field(&Added::already, already),
               Field(&Added::differing, 0));
}

TEST_F(HistoryTest, AddsARunOnce) {
  const std::vector<HistoryRow> run{{.name = "a"}, {.name = "b"}, {.name = "c", .status = "FAIL"}};
  EXPECT_THAT(add(run), AllOf(adds(3, 1, 0), Field(&Added::all_rows, 3), Field(&Added::all_runs, 1)));
  EXPECT_THAT(add(run), AllOf(adds(0, 0, 3), Field(&Added::all_rows, 3), Field(&Added::all_runs, 1)));
  EXPECT_THAT(reading().runs(), ElementsAre(AllOf(Field(&HistoryRun::rows, 3), Field(&HistoryRun::red, 1),
                                                  Field(&HistoryRun::subject, "A subject"))));
}

/// Each of the six things that make a run makes another one.
TEST_F(HistoryTest, TellsRunsApart) {
  const HistoryRow first{};
  std::vector<HistoryRow> others(6, first);
  others[0].commit = "other";
  others[1].started = "2026-01-01T00:00:01Z";
  others[2].fingerprint = "other";
  others[3].communicator = "mpi";
  others[4].device = "cuda";
  others[5].world = 4;
  others.push_back(first);
  EXPECT_THAT(add(others), adds(7, 7, 0));
  others[3].subject = "no part of it";
  EXPECT_EQ(add(others).differing, 1);
  EXPECT_THAT(reading().runs(), SizeIs(7));
}

/// With --resume the rows that were there keep their start, the others have that of the second one.
TEST_F(HistoryTest, TakesARunThatWentOn) {
  const HistoryRow kept{.name = "a"}, also_kept{.name = "b"};
  add({kept, also_kept});
  EXPECT_THAT(add({kept, also_kept, {.name = "c", .started = "2026-01-02T00:00:00Z"}}), adds(1, 1, 2));
  EXPECT_THAT(reading().runs(), ElementsAre(Field(&HistoryRun::rows, 2), Field(&HistoryRun::rows, 1)));
}

TEST_F(HistoryTest, ACaseTwiceInARunIsThereTwiceAndInSeriesOnce) {
  const std::vector<HistoryRow> run{{.seconds = 1}, {.seconds = 2}};
  EXPECT_THAT(add(run), adds(2, 1, 0));
  EXPECT_THAT(add(run), adds(0, 0, 2));
  EXPECT_THAT(rows(), ElementsAre(Field(&History::Row::nth, 1), Field(&History::Row::nth, 2)));
  ASSERT_THAT(series(), SizeIs(1));
  EXPECT_THAT(series()[0].points, ElementsAre(Field(&SeriesPoint::value, 1)));
}

TEST_F(HistoryTest, SaysWhatItLeavesOut) {
  add({{.seconds = 1}});
  const Added added = add({{.seconds = 2}});
  EXPECT_EQ(added.rows, 0);
  EXPECT_EQ(added.already, 0);
  EXPECT_EQ(added.differing, 1);
  EXPECT_EQ(series()[0].points[0].value, 1);
}

TEST_F(HistoryTest, KeepsFiguresAsTheyAre) {
  const ResultsLog written = log({{.seconds = 0.1}});
  writing().add(written);
  const std::vector<std::string> names = reading().figure_names();
  ASSERT_EQ(names.size(), figures().size());
  const std::vector<History::Row> read = rows();
  ASSERT_THAT(read, SizeIs(1));
  int known = 0, special = 0;
  for (std::size_t f = 0; f < names.size(); ++f) {
    EXPECT_EQ(names[f], figures()[f].name);
    const auto was = written.records[0].figures[f], is = read[0].record.figures[f];
    ASSERT_EQ(was.has_value(), is.has_value()) << names[f];
    if (!was) continue;
    ++known;
    special += !std::isfinite(*was);
    EXPECT_TRUE(*was == *is || (std::isnan(*was) && std::isnan(*is))) << names[f];
  }
  EXPECT_EQ(known, 6);
  EXPECT_EQ(special, 2);  // inf and nan
  EXPECT_THAT(read[0].machine, Optional(std::string(R"({"cpu":"of f"})")));
}

/// Quotes, NUL, markup, commands of SQL, control characters, and a megabyte.
TEST_F(HistoryTest, TextGoesInAndOutUnchanged) {
  using namespace std::string_literals;
  std::vector<std::string> hostile{"'; DROP TABLE run; --",
                                   "\"quoted\", `b`, %s ?1 :a $1 \\",
                                   "nul\0inside"s,
                                   "nul\0outside"s,
                                   "</script><script>alert(1)</script>",
                                   "\x1b[2J\x07\r\n\ttab",
                                   "ünï \xf0\x9f\x8e\xb5",
                                   "",
                                   std::string(1 << 20, 'x')};
  std::vector<HistoryRow> run;
  for (const std::string& text : hostile) {
    run.push_back({.name = text,
                   .commit = text,
                   .subject = text,
                   .started = text,
                   .fingerprint = text,
                   .communicator = text,
                   .device = text});
  }
  EXPECT_THAT(add(run), adds(std::ssize(hostile), std::ssize(hostile), 0));
  EXPECT_THAT(add(run), adds(0, 0, std::ssize(hostile)));
  std::vector<std::string> read;
  for (const History::Row& row : rows()) {
    const Record& r = row.record;
    for (const auto& text :
         {r.commit, r.subject, r.started, r.setting.fingerprint, r.setting.communicator, r.setting.device})
      EXPECT_EQ(text, r.name);
    read.push_back(r.name);
  }
  EXPECT_EQ(series({.filter = "script"}).size(), 1U);
  EXPECT_EQ(series({.fingerprint = hostile[2]}).size(), 1U);  // not that of hostile[3]
  std::ranges::sort(read);
  std::ranges::sort(hostile);
  EXPECT_TRUE(read == hostile);
}

TEST_F(HistoryTest, SeriesAreOfOneMachineDeviceCommunicatorAndWorld) {
  std::vector<HistoryRow> run(5);
  run[1].fingerprint = "other";
  run[2].communicator = "mpi";
  run[3].device = "cuda";
  run[4].world = 4;
  add(run);
  for (HistoryRow& row : run) row.started = "2025-12-31T00:00:00Z";
  add(run);
  EXPECT_THAT(series(), SizeIs(5));
  for (const Series& s : series()) {
    EXPECT_THAT(s.points, ElementsAre(Field(&SeriesPoint::started, "2025-12-31T00:00:00Z"),
                                      Field(&SeriesPoint::started, "2026-01-01T00:00:00Z")));
  }
  EXPECT_THAT(series({.fingerprint = "other"}),
              ElementsAre(Field(&Series::setting, Field(&Setting::fingerprint, "other"))));
}

TEST_F(HistoryTest, SeriesHaveOnlyTimesThatMeanSomething) {
  add({{.name = "good"},
       {.name = "wrong", .status = "FAIL"},
       {.name = "mistrusted", .status = "MISTRUSTED"},
       {.name = "known", .status = "xfail"},
       {.name = "none", .seconds = 0},
       {.name = "crowded", .oversubscribed = true}});
  EXPECT_THAT(series(), ElementsAre(Field(&Series::name, "good")));
  EXPECT_THAT(series({.figure = "peak_bytes"}),  // is exact on any machine
              ElementsAre(Field(&Series::name, "crowded"), Field(&Series::name, "good"),
                          Field(&Series::name, "none")));
  EXPECT_THAT(series({.figure = "forward_bytes"}), IsEmpty());  // 0 has no logarithm
  EXPECT_THAT(series({.figure = "o_bound_share"}), IsEmpty());  // inf
  EXPECT_THAT(series({.figure = "o_row_share"}), IsEmpty());    // nan
  EXPECT_THAT([&] { series({.figure = "beauty"}); },
              ThrowsMessage<UsageError>(AllOf(HasSubstr("'beauty'"), HasSubstr("forward_backward_s"))));
  EXPECT_THAT([&] { series({.filter = "("}); }, ThrowsMessage<UsageError>(HasSubstr("'('")));
}

TEST_F(HistoryTest, ChangesAreRatios) {
  for (int day = 1; day <= 14; ++day) add({on_day(day, (day < 9 ? 0.1 : 0.2) * (day % 2 == 0 ? 1.01 : 1))});
  const std::vector<Series> all = series();
  ASSERT_THAT(all, SizeIs(1));
  ASSERT_THAT(all[0].changes, SizeIs(1));
  const ChangePoint& change = all[0].changes[0];
  EXPECT_EQ(all[0].points[change.at].commit, "c9");
  EXPECT_THAT(change.before, DoubleNear(0.1 * std::sqrt(1.01), 1e-12));  // geometric means
  EXPECT_THAT(change.after, DoubleNear(0.2 * std::sqrt(1.01), 1e-12));
}

TEST_F(HistoryTest, OfALongSeriesTheNewestPoints) {
  Series s;
  for (std::size_t i = 0; i < kMostPoints + 500; ++i) {
    s.points.push_back({.value = i < 400 ? 1.0 : i < 1400 ? 2.0 : 3.0});  // the first step is too long ago
  }
  find_changes(s);
  EXPECT_THAT(s.changes, ElementsAre(Field(&ChangePoint::at, 1400)));
}

// --- layer C

class LayerC : public HistoryTest {
 protected:
  /// Findings of the last of some days' runs.
  std::vector<HistoryFinding> findings(const std::vector<double>& seconds, bool stored = true) const {
    std::filesystem::remove(db_);
    std::vector<HistoryRow> days;
    for (std::size_t i = 0; i < seconds.size(); ++i)
      days.push_back(on_day(static_cast<int>(i) + 1, seconds[i] * (i % 2 == 0 ? 1.002 : 1)));
    const HistoryRow last = days.back();
    if (!stored) days.pop_back();
    add(days);
    History history = reading();
    return history_findings(history, log({last}).records);
  }
};

const std::vector<double> kStep{1, 1, 1, 1, 1, 1, 1.1, 1.1};

TEST_F(LayerC, TellsAStep) {
  for (const bool stored : {true, false}) {
    const std::vector<HistoryFinding> found = findings(kStep, stored);
    ASSERT_THAT(found, SizeIs(2));
    EXPECT_EQ(found[0].figure, "forward_s");
    EXPECT_EQ(found[1].figure, "forward_backward_s");
    EXPECT_EQ(found[1].name, "ring");
    EXPECT_EQ(found[1].since, "c7");
    EXPECT_EQ(found[1].points, 8);
    EXPECT_TRUE(found[1].slower);
    EXPECT_THAT(found[1].before, DoubleNear(std::sqrt(1.002), 1e-9));
    EXPECT_THAT(found[1].after, DoubleNear(1.1 * std::sqrt(1.002), 1e-9));
  }
}

TEST_F(LayerC, OnePointIsNoStep) {
  EXPECT_THAT(findings({1, 1, 1, 1, 1, 1, 1, 1.1}), IsEmpty());
  EXPECT_THAT(findings({1, 1, 1, 1, 1, 1, 1, 1}), IsEmpty());
}

TEST_F(LayerC, OnlySlowerByMoreThanDelta) {
  for (const auto& [to, slower] : {std::pair(0.8, false), {1.025, false}, {1.035, true}}) {
    std::vector<double> seconds = kStep;
    seconds[6] = seconds[7] = to;
    const std::vector<HistoryFinding> found = findings(seconds);
    ASSERT_THAT(found, SizeIs(2)) << to;
    EXPECT_EQ(found[0].slower, slower) << to;
  }
}

TEST_F(LayerC, ARiseInSmallStepsIsOne) {
  Series s = {.name = "ring", .figure = "forward_s", .points = std::vector<SeriesPoint>(20)};
  for (std::size_t i = 0; i < s.points.size(); ++i) s.points[i].commit = "c" + std::to_string(i);
  s.changes = {{4, 1.2, 1}, {8, 1, 1.02}, {12, 1.02, 1.04}, {16, 1.04, 1.06}};
  HistoryFinding finding = finding_of(s);
  EXPECT_TRUE(finding.slower);
  EXPECT_EQ(finding.since, "c8");
  EXPECT_EQ(finding.before, 1);
  EXPECT_EQ(finding.after, 1.06);
  s.changes[2] = {12, 1.02, 1.01};  // no rise from 8 on
  s.changes[3] = {16, 1.01, 1.03};
  finding = finding_of(s);
  EXPECT_FALSE(finding.slower);
  EXPECT_EQ(finding.since, "c16");
  s.changes[3] = {16, 1.01, 1.06};  // enough by itself
  finding = finding_of(s);
  EXPECT_TRUE(finding.slower);
  EXPECT_EQ(finding.since, "c16");
}

/// The same step on another machine, or of rows that do not count, says nothing.
TEST_F(LayerC, AsksItsOwnMachine) {
  findings(kStep);  // into the database
  History history = reading();
  const auto of = [&](const HistoryRow& row) { return history_findings(history, log({row}).records); };
  HistoryRow last = on_day(8, 1.1);
  EXPECT_THAT(of(last), SizeIs(2));
  for (const auto change : std::vector<void (*)(HistoryRow&)>{
           [](HistoryRow& r) { r.fingerprint = "other"; }, [](HistoryRow& r) { r.device = "cuda"; },
           [](HistoryRow& r) { r.communicator = "mpi"; }, [](HistoryRow& r) { r.world = 2; },
           [](HistoryRow& r) { r.name = "other"; }, [](HistoryRow& r) { r.status = "FAIL"; },
           [](HistoryRow& r) { r.oversubscribed = true; }}) {
    HistoryRow other = last;
    change(other);
    EXPECT_THAT(of(other), IsEmpty());
  }
}

/// What came after a run is nothing to it.
TEST_F(LayerC, LooksBackFromTheRun) {
  findings(kStep);
  History history = reading();
  EXPECT_THAT(history_findings(history, log({on_day(6, 1)}).records), IsEmpty());
}

// --- the file

TEST_F(HistoryTest, MissingAndEmptyFilesHaveNoHistory) {
  EXPECT_THAT([&] { reading(); }, ThrowsMessage<UsageError>(HasSubstr("there is no such file")));
  EXPECT_FALSE(std::filesystem::exists(db_));
  folder_.write("history.db", "");
  EXPECT_THAT([&] { reading(); }, ThrowsMessage<UsageError>(HasSubstr("an empty file")));
  EXPECT_THAT(add({{}}), adds(1, 1, 0));  // it may be made beforehand
}

/// Nothing of a log is there if its transaction is not committed.
TEST_F(HistoryTest, ATransactionIsWhole) {
  add({{.name = "a"}});
  ResultsLog broken = log({{.name = "b"}, {.name = "c", .fingerprint = "other"}});
  broken.records[1].figures.clear();
  EXPECT_ANY_THROW(writing().add(broken));
  EXPECT_THAT(rows(), SizeIs(1));
  EXPECT_THAT(add({{.name = "b"}}), adds(1, 1, 0));
}

}  // namespace
}  // namespace ringside
