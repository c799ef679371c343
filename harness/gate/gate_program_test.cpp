// `ringside baseline` and `ringside gate` as a user runs them.
#include <gmock/gmock.h>
#include <signal.h>

#include <memory>
#include <pugixml.hpp>

#include "harness/base/json.h"
#include "harness/testing/program.h"
#include "harness/testing/results.h"

namespace ringside {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class Gate : public ::testing::Test {
 protected:
  std::string results(const std::vector<TestRow>& rows, const std::string& name = "results.jsonl") const {
    return folder_.write(name, row_lines(rows));
  }
  Outcome record(const std::string& of, const std::string& options = "--reason 'it is good'") const {
    return ringside("baseline record " + of + " --dir " + dir_ + " " + options);
  }
  Outcome gate(const std::string& of, const std::string& options = "") const {
    return ringside("gate " + of + " --baseline " + dir_ + " " + options);
  }
  std::string file() const { return dir_ + "/0123456789ab/baseline.csv"; }

  TempFolder folder_;
  std::string dir_ = folder_ / "baselines";
  std::vector<TestRow> rows_ = {{}, {.name = "ring-b", .status = "xfail"}, {.name = "ring-c"}};
};

TEST_F(Gate, WhatWasRecordedIsGreen) {
  const std::string now = results(rows_);
  const Outcome outcome = record(now);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out,
            file() + ": 3 cases recorded, 0 of them in place of earlier ones; 0 others stay, 0 dropped\n");
  EXPECT_THAT(text_of(dir_ + "/0123456789ab/machine.json"), HasSubstr("Model \\\"T\\\""));
  for (const std::string& where : {dir_, dir_ + "/0123456789ab", file()}) {
    const Outcome same = ringside("gate " + now + " --baseline " + where);
    EXPECT_EQ(same.status, 0) << same.err;
    EXPECT_THAT(same.out, AllOf(HasSubstr("recorded 20"), HasSubstr(": it is good)"),
                                HasSubstr("\nOK (exit status 0): nothing is worse in 3 cases\n")));
  }
}

TEST_F(Gate, MoreBytesAreRedFewerAreGreen) {
  ASSERT_EQ(record(results(rows_)).status, 0);
  rows_[2].peak_bytes = 4097;
  const Outcome more = gate(results(rows_));
  EXPECT_EQ(more.status, 1);
  EXPECT_THAT(more.out, AllOf(HasSubstr("  RED    peak_bytes  4096  4097  ring-c\n"),
                              HasSubstr("\nRED (exit status 1): 1 case ")));
  rows_[2].peak_bytes = 4095;
  const Outcome fewer = gate(results(rows_));
  EXPECT_EQ(fewer.status, 0);
  EXPECT_THAT(fewer.out, AllOf(HasSubstr("  better  peak_bytes  4096  4095  ring-c\n"),
                               HasSubstr("record a new baseline with a reason")));
}

TEST_F(Gate, ReportsAreWritten) {
  ASSERT_EQ(record(results(rows_)).status, 0);
  rows_[0].status = "FAIL";
  rows_[0].reason = "<script>|";
  const Outcome outcome = gate(results(rows_), "--strict --junit " + folder_ / "junit.xml" + " --markdown " +
                                                   folder_ / "gate.md" + " --json " + folder_ / "gate.json");
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.out, HasSubstr("RED    status  pass  FAIL  ring-a: <script>|\n"));
  pugi::xml_document document;
  ASSERT_TRUE(document.load_file((folder_ / "junit.xml").c_str()));
  EXPECT_EQ(document.child("testsuites").attribute("failures").as_int(), 1);
  EXPECT_THAT(text_of(folder_ / "gate.md"), HasSubstr("FAIL&#58; &#60;script&#62;&#124;"));
  EXPECT_EQ(Json::parse(text_of(folder_ / "gate.json"))["status"], 1);
  EXPECT_EQ(gate(results(rows_), "--json /dev/full").status, 5);
  EXPECT_EQ(gate(results(rows_), "--json " + folder_ / "none/gate.json").status, 2);
}

TEST_F(Gate, ReportsReplaceNothingButReports) {
  ASSERT_EQ(record(results(rows_)).status, 0);
  const std::string other = folder_.write("other", "something dear\n"), report = folder_ / "gate.json";
  for (const char* kind : {"--junit ", "--markdown ", "--json "}) {
    const Outcome outcome = gate(results(rows_), kind + other);
    EXPECT_EQ(outcome.status, 2);
    EXPECT_THAT(outcome.err, HasSubstr("other: is there, and no such report"));
    EXPECT_EQ(text_of(other), "something dear\n");
  }
  EXPECT_EQ(gate(results(rows_), "--json " + report).status, 0);
  EXPECT_EQ(gate(results(rows_), "--json " + report).status, 0);
  EXPECT_EQ(gate(results(rows_), "--json " + folder_ / "new" + " --junit " + folder_ / "new").status, 2);
}

TEST_F(Gate, TimesOfAnotherMachineAreNotShown) {
  ASSERT_EQ(record(results(rows_)).status, 0);
  for (TestRow& row : rows_) row.tokens_per_s = 100;
  EXPECT_THAT(gate(results(rows_)).out, HasSubstr("throughput 0.100"));
  for (TestRow& row : rows_) row.fingerprint = "ba9876543210";
  const Outcome outcome = gate(results(rows_));
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, AllOf(Not(HasSubstr("throughput")), HasSubstr("another machine")));
}

TEST_F(Gate, ACaseThatIsGoneIsRed) {
  ASSERT_EQ(record(results(rows_)).status, 0);
  const std::string now = results({rows_[0], rows_[1]});
  EXPECT_EQ(gate(now).status, 1);
  EXPECT_THAT(gate(now).out, HasSubstr("  RED    status  pass  absent  ring-c\n"));
  EXPECT_EQ(gate(now, "--allow-missing").status, 0);
  EXPECT_EQ(gate(now, "--filter 'ring-[ab]'").status, 0);
  EXPECT_EQ(gate(now, "--filter '['").status, 2);
  // a torn row is told, and its case absent
  folder_.write("results.jsonl", row_lines({rows_[0], rows_[1]}) + "{\"schema\":3,\"na");
  const Outcome torn = gate(now);
  EXPECT_EQ(torn.status, 1);
  EXPECT_THAT(torn.out, HasSubstr("note: " + now + ":3: the last line is torn"));
  // forgotten on purpose
  EXPECT_EQ(record(now, "--reason 'ring-c is gone' --prune").status, 0);
  EXPECT_EQ(gate(now).status, 0);
}

TEST_F(Gate, AMissingBaselineSaysHowToRecordOne) {
  const std::string now = results(rows_);
  const Outcome missing = gate(now);
  EXPECT_EQ(missing.status, 2);
  EXPECT_THAT(missing.err, HasSubstr("ringside: " + dir_ + ": no such baseline; `ringside baseline record "));
  fs::create_directories(dir_ + "/published");
  EXPECT_THAT(gate(now).err, HasSubstr(dir_ + ": no baseline in it; `ringside baseline record "));
  EXPECT_EQ(ringside("gate " + now).status, 2);
}

TEST_F(Gate, ABaselineThatIsNotUnderstoodIsLeftAlone) {
  const std::string now = results(rows_);
  ASSERT_EQ(record(now).status, 0);
  const std::string good = text_of(file());
  const auto refused = [&](const std::string& text, const std::string& message) {
    std::ofstream(file(), std::ios::binary) << text;
    for (const Outcome& outcome : {gate(now), record(now)}) {
      EXPECT_EQ(outcome.status, 2);
      EXPECT_THAT(outcome.err, HasSubstr(message));
    }
    EXPECT_EQ(text_of(file()), text);
  };
  refused(good.substr(0, good.size() - 9), file() + ":4: the last line lacks its end");
  refused("schema,title\n2,b\n", file() + ":2: schema: a baseline of schema 2");
  refused("PNG\r\n\x1a\n", file() + ":1: no baseline");
  // columns that this program does not know are read over, but not lost
  const std::string wider = "beauty," + good.substr(0, good.find('\n') + 1);
  std::ofstream(file(), std::ios::binary) << wider;
  const Outcome lost = record(now);
  EXPECT_EQ(lost.status, 2);
  EXPECT_THAT(lost.err, HasSubstr("column 'beauty', which this program does not know, would be lost"));
  EXPECT_EQ(text_of(file()), wider);
}

using Baseline = Gate;

TEST_F(Baseline, NeedsAReason) {
  const std::string now = results(rows_);
  EXPECT_THAT(record(now, "").err, HasSubstr("--reason is required"));
  EXPECT_THAT(record(now, "--reason ' '").err, HasSubstr("--reason: it must say something"));
  EXPECT_THAT(record(now, "--reason \"$(printf 'a\\033[2J')\"").err, HasSubstr("not 'a\\x1b[2J'"));
  EXPECT_FALSE(fs::exists(dir_));
}

TEST_F(Baseline, RefusesWhatIsNoneAndSaysWhere) {
  const auto refused = [&](const std::vector<TestRow>& rows, const std::string& message) {
    const std::string now = results(rows);
    const Outcome outcome = record(now);
    EXPECT_EQ(outcome.status, 2);
    EXPECT_THAT(outcome.err, HasSubstr(message));
    EXPECT_FALSE(fs::exists(dir_));
  };
  const std::string file = folder_ / "results.jsonl:";
  for (const std::string status : {"FAIL", "MISTRUSTED", "XPASS"})
    refused({{}, {.name = "x", .status = status}},
            file + "2: " + status + " of x: wrong results are no baseline");
  refused({{}, {}}, file + "2: ring-a is already in line 1");
  refused({{}, {.name = "x", .fingerprint = "1"}}, file + "2: of machine 1, the first row of 0123456789ab");
  refused({{.status = "skip"}}, "all cases were skipped");
  refused({{.status = "odd"}}, file + "1: unknown status 'odd'");
  refused({{.schema = 99}}, file + "1: a row of schema 99");
  for (const std::string hostile : {"../../etc", "", ".", "a/b"})
    refused({{.fingerprint = hostile}}, "fingerprint '" + hostile + "' cannot name a folder");
}

TEST_F(Baseline, ReplacesItsOwnRowsAndKeepsOthers) {
  ASSERT_EQ(record(results(rows_)).status, 0);
  TestRow mpi = {.name = "ring-m", .communicator = "mpi", .world = 4};
  ASSERT_EQ(record(results({mpi}), "--reason second").status, 0);
  TestRow again = rows_[0];
  again.peak_bytes = 5000;
  const Outcome third = record(results({again, {.name = "ring-c", .status = "skip"}, {.name = "ring-d"}}),
                               "--reason 'third, \"best\"'");
  EXPECT_THAT(third.out,
              HasSubstr("2 cases recorded, 1 of them in place of earlier ones; 3 others stay, 0 dropped\n"
                        "1 cases were skipped: they are not recorded\n"));
  const Outcome show = ringside("baseline show " + dir_);
  EXPECT_EQ(show.status, 0) << show.err;
  EXPECT_THAT(
      show.out,
      AllOf(HasSubstr(file() + ": 5 cases\n"), HasSubstr(": it is good\n  commit c0ffee Faster rings\n"),
            HasSubstr(": second\n"), HasSubstr(": third, \"best\"\n"),
            HasSubstr("5000 bytes          1000 tokens/s  pass    ring-a, threads on cpu\n"),
            HasSubstr("ring-m, mpi on cpu, world 4\n")));
  EXPECT_EQ(gate(results({again, rows_[1], rows_[2], {.name = "ring-d"}})).status, 0);
}

TEST_F(Baseline, ADirtyCommitIsTold) {
  rows_[0].commit = "c0ffee-dirty";
  EXPECT_THAT(record(results(rows_)).out,
              HasSubstr("note: commit c0ffee-dirty: what was measured is in no commit"));
}

TEST_F(Baseline, WhereNothingCanBeWritten) {
  const std::string now = results(rows_);
  for (const std::string& place : {now, std::string("/proc")}) {
    const Outcome outcome = ringside("baseline record " + now + " --reason x --dir " + place + "/in");
    EXPECT_EQ(outcome.status, 2);
    EXPECT_THAT(outcome.err, HasSubstr(place + "/in"));
  }
  fs::create_directories(file() + ".new");  // a folder where the file is to be written
  EXPECT_THAT(record(now).err, HasSubstr(file() + ".new: cannot be written"));
}

/// A disk that is full while the file is written.
TEST_F(Baseline, AFullDiskLeavesTheOldFile) {
  const std::string now = results(rows_);
  ASSERT_EQ(record(now).status, 0);
  const std::string old = text_of(file());
  for (int i = 0; i < 50; ++i) rows_.push_back({.name = "more-" + std::to_string(i)});
  const Outcome outcome =
      run("trap '' XFSZ; ulimit -f 1; " +
          program("baseline record " + results(rows_, "more.jsonl") + " --reason x --dir " + dir_));
  EXPECT_EQ(outcome.status, 5);
  EXPECT_THAT(outcome.err, HasSubstr("baseline.csv.new: write failed: File too large\n"));
  EXPECT_EQ(text_of(file()), old);
  EXPECT_FALSE(fs::exists(file() + ".new"));
}

TEST_F(Baseline, AKilledProcessLeavesTheOldFileOrTheNewOne) {
  std::vector<TestRow> many;
  for (int i = 0; i < 1000; ++i) many.push_back({.name = "ring-" + std::to_string(i)});
  ASSERT_EQ(record(results(many, "old.jsonl"), "--reason old").status, 0);
  const std::string news = results(many, "new.jsonl");
  for (int delay_ms = 0; delay_ms < 60; delay_ms += 6) {
    Process process(program("baseline record " + news + " --reason new --dir " + dir_));
    std::this_thread::sleep_for(std::chrono::milliseconds(delay_ms));
    kill(process.pid(), SIGKILL);
    process.wait();
    const Outcome show = ringside("baseline show " + dir_);
    ASSERT_EQ(show.status, 0) << show.err;
    EXPECT_THAT(show.out, HasSubstr(": 1000 cases\n"));
    EXPECT_NE(show.out.find(": old\n") == show.out.npos, show.out.find(": new\n") == show.out.npos);
  }
  EXPECT_EQ(record(news, "--reason last").status, 0)
      << "what a killed process left behind is in nobody's way";
  EXPECT_THAT(ringside("baseline show " + dir_).out, HasSubstr(": last\n"));
}

TEST_F(Baseline, WritersAtTheSameTimeLoseNothing) {
  constexpr int kWriters = 8;
  std::vector<std::unique_ptr<Process>> writers;
  for (int i = 0; i < kWriters; ++i) {
    const std::string mine = results({{.name = "ring-" + std::to_string(i)}}, std::to_string(i) + ".jsonl");
    writers.push_back(
        std::make_unique<Process>(program("baseline record " + mine + " --reason x --dir " + dir_)));
  }
  for (const auto& writer : writers) EXPECT_EQ(writer->wait().status, 0);
  EXPECT_THAT(ringside("baseline show " + dir_).out, HasSubstr(": 8 cases\n"));
}

}  // namespace
}  // namespace ringside
