// `ringside history` as users and CI run it: several at once, killed, on files and disks that are not as they
// should be.
#include <gmock/gmock.h>

#include <csignal>
#include <list>
#include <map>
#include <random>

#include "harness/base/json.h"
#include "harness/history/history.h"
#include "harness/testing/history.h"
#include "harness/testing/program.h"

namespace ringside {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

Outcome add(const std::string& results, const std::string& db) {
  return ringside("history add " + results + " --db " + db);
}

/// One run's results, of so many cases.
std::string run_of(int run, int cases) {
  std::vector<HistoryRow> rows;
  for (int i = 0; i < cases; ++i) {
    rows.push_back(on_day(1, 0.01));
    rows.back().name = "case-" + std::to_string(i);
    rows.back().commit = "commit-" + std::to_string(run);
  }
  return lines_of(rows);
}

/// SQL on a file, as another program reads it: the lines of the result.
Outcome sql(const std::string& db, const std::string& statements) {
  return run(
      "exec python3 -c 'import sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\nfor s in sys.argv[2:]:\n"
      "  for row in c.execute(s): print(*row)\n  c.commit()' " +
      db + " " + statements);
}

/// Rows by commit of a database that must be whole.
std::map<std::string, std::int64_t> rows_of(const std::string& db) {
  EXPECT_EQ(sql(db, "'PRAGMA integrity_check' 'PRAGMA foreign_key_check'").out, "ok\n");
  std::map<std::string, std::int64_t> rows;
  for (const HistoryRun& r : History(db, Database::Access::read).runs()) rows[r.commit] += r.rows;
  return rows;
}

/// Whether a process has ended and waits for wait().
bool is_done(pid_t pid) {
  siginfo_t state{};
  return waitid(P_PID, static_cast<id_t>(pid), &state, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         state.si_pid == pid;
}

class ProgramHistory : public ::testing::Test {
 protected:
  std::string results(int run, int cases) const {
    return folder_.write("results" + std::to_string(run) + ".jsonl", run_of(run, cases));
  }
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& file : fs::directory_iterator(folder_ / "")) names.push_back(file.path().filename());
    return names;
  }
  void expect_refused(const Outcome& outcome, const std::string& why, int status = 2) const {
    EXPECT_EQ(outcome.status, status) << outcome.err;
    EXPECT_EQ(outcome.out, "");
    EXPECT_THAT(outcome.err, AllOf(StartsWith("ringside: "), HasSubstr(why)));
    EXPECT_EQ(whole_lines(outcome.err).size(), 1U) << outcome.err;
  }

  TempFolder folder_;
  const std::string db_ = folder_ / "history.db";
};

TEST_F(ProgramHistory, AddSaysWhatItDid) {
  const std::string first = results(1, 12), second = results(2, 5);
  EXPECT_EQ(add(first, db_).out, "12 rows of 1 run added to " + db_ + " (1 run, 12 rows)\n");
  EXPECT_EQ(add(first + " " + second, db_).out,
            "nothing of " + first + " added to " + db_ + ", 12 rows there already (1 run, 12 rows)\n" +
                "5 rows of 1 run added to " + db_ + " (2 runs, 17 rows)\n");
  folder_.write("more.jsonl", run_of(2, 6));
  EXPECT_EQ(add(folder_ / "more.jsonl", db_).out,
            "1 row of 1 run added to " + db_ + ", 5 rows there already (2 runs, 18 rows)\n");
  EXPECT_THAT(files(), Not(::testing::Contains(HasSubstr("history.db-"))));  // no log is left behind
}

TEST_F(ProgramHistory, ATornLineIsLeftOutAndTold) {
  const std::string torn = folder_.write("torn.jsonl", run_of(1, 3) + "{\"schema\":3,");
  const Outcome outcome = add(torn, db_);
  EXPECT_EQ(outcome.status, 0);
  EXPECT_THAT(outcome.out, StartsWith("3 rows of 1 run added"));
  EXPECT_THAT(outcome.err, AllOf(HasSubstr(torn + ":4: "), HasSubstr("torn")));
}

/// Of several files none is added if one is bad.
TEST_F(ProgramHistory, WrongResultsLeaveTheDatabaseAlone) {
  const std::string good = results(1, 3);
  expect_refused(add(good + " " + folder_.write("bad.jsonl", "{}\n"), db_), "bad.jsonl:1: ");
  EXPECT_FALSE(fs::exists(db_));
  expect_refused(add(folder_ / "absent", db_), "absent");
}

// --- several at once

TEST_F(ProgramHistory, WritersAtOnceAllSucceed) {
  std::vector<std::string> runs;
  for (int run = 0; run < 4; ++run) runs.push_back(results(run, 50));
  for (int round = 0; round < 3; ++round) {
    fs::remove(db_);  // they all want to make it
    std::list<Process> writers;
    for (std::size_t w = 0; w < 8; ++w)
      writers.emplace_back(program("history add " + runs[w / 2] + " --db " + db_));  // two of each
    int added = 0;
    for (Process& writer : writers) {
      const Outcome outcome = writer.wait();
      EXPECT_EQ(outcome.status, 0) << outcome.err;
      added += outcome.out.starts_with("50 rows of 1 run added");
    }
    EXPECT_EQ(added, 4);
    const auto rows = rows_of(db_);
    EXPECT_EQ(rows.size(), 4U);
    for (const auto& [commit, count] : rows) EXPECT_EQ(count, 50) << commit;
  }
}

// --- killed

/// At moments spread over the time that an add takes, and over what it has written: whole or not at all, and
/// what another said that it added stays.
TEST_F(ProgramHistory, KilledAddsAreWholeOrNotThere) {
  constexpr int kCases = 3000;
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_EQ(add(results(0, kCases), db_).status, 0);
  const std::chrono::duration<double> takes = std::chrono::steady_clock::now() - begin;
  std::map<std::string, std::int64_t> said{{"commit-0", kCases}};
  std::mt19937_64 bits(20260101);
  int killed = 0, killed_with_log = 0;
  for (int run = 1; run <= 24; ++run) {
    const std::string file = results(run, kCases), commit = "commit-" + std::to_string(run);
    Process adding(program("history add " + file + " --db " + db_));
    const double share = static_cast<double>(bits() >> 11) * 0x1p-53;
    if (run % 2 == 0) {  // at a time
      if (run > 2) std::this_thread::sleep_for(1.1 * share * takes);
    } else {  // with so much in the log, which holds pages before they are committed
      const auto bytes = static_cast<std::uintmax_t>(share * 1e6);
      std::error_code none_yet;
      EXPECT_TRUE(eventually([&] {
        const auto size = fs::file_size(db_ + "-wal", none_yet);
        return (!none_yet && size > bytes) || is_done(adding.pid());
      }));
    }
    kill(adding.pid(), SIGKILL);
    const Outcome outcome = adding.wait();
    const bool told = outcome.out.starts_with(std::to_string(kCases) + " rows of 1 run added");
    killed += outcome.status == 128 + SIGKILL;
    killed_with_log += outcome.status == 128 + SIGKILL && fs::exists(db_ + "-wal");
    if (told) said[commit] = kCases;
    if (run % 4 != 0) continue;  // some kills come on top of what others left
    const auto rows = rows_of(db_);
    for (const auto& [name, count] : said) EXPECT_EQ(rows.contains(name) ? rows.at(name) : 0, count) << name;
    for (const auto& [name, count] : rows) EXPECT_EQ(count, kCases) << name;
  }
  EXPECT_GT(killed, 1);
  EXPECT_GT(killed_with_log, 0);
  for (int run = 1; run <= 24; ++run) EXPECT_EQ(add(results(run, kCases), db_).status, 0);
  EXPECT_EQ(rows_of(db_).size(), 25U);
}

/// The file's first moments: it is made while being killed.
TEST_F(ProgramHistory, KilledWhileMakingTheFile) {
  const std::string file = results(1, 1);
  std::mt19937_64 bits(7);
  for (int round = 0; round < 30; ++round) {
    fs::remove(db_);
    Process adding(program("history add " + file + " --db " + db_));
    ASSERT_TRUE(eventually([&] { return fs::exists(db_) || is_done(adding.pid()); }));
    std::this_thread::sleep_for(std::chrono::microseconds(bits() % 20000));
    kill(adding.pid(), SIGKILL);
    adding.wait();
    const Outcome again = add(file, db_);
    EXPECT_EQ(again.status, 0) << again.err;
    EXPECT_EQ(rows_of(db_), (std::map<std::string, std::int64_t>{{"commit-1", 1}}));
    for (const char* left : {"-wal", "-shm", "-journal"}) fs::remove(db_ + left);
  }
}

// --- files that are not ours

TEST_F(ProgramHistory, WhatIsNotOursIsNotTouched) {
  const std::string good = results(1, 3);
  const std::string other = folder_ / "other.db", version = folder_ / "version.db";
  ASSERT_EQ(
      sql(other, "'PRAGMA journal_mode=WAL' 'CREATE TABLE mine (x)' 'INSERT INTO mine VALUES (1)'").status,
      0);
  ASSERT_EQ(add(good, version).status, 0);
  ASSERT_EQ(sql(version, "'PRAGMA user_version = 2'").status, 0);
  const std::vector<std::pair<std::string, std::string>> files_and_reasons{
      {other, "a SQLite database, but not a history of ringside"},
      {version, "a history of ringside of version 2; this program knows 1 to 1"},
      {folder_.write("text.db", "Dear diary,\n" + std::string(5000, '.')), "is not a SQLite database"},
      {folder_.write("short.db", "SQLite"), "is not a SQLite database"},
      {folder_.write("magic.db", std::string("SQLite format 3\0", 16)), "but not a history"},
      {good, "is not a SQLite database"}};
  for (const auto& [file, reason] : files_and_reasons) {
    const std::string before = text_of(file);
    const auto names = files();
    for (const std::string& command : {"add " + good, std::string("list"), std::string("export")}) {
      SCOPED_TRACE(command + " " + file);
      expect_refused(ringside("history " + command + " --db " + file), file + ": ");
      expect_refused(ringside("history " + command + " --db " + file), reason);
      EXPECT_TRUE(text_of(file) == before);
      EXPECT_THAT(files(), ::testing::UnorderedElementsAreArray(names));
    }
  }
  expect_refused(add(good, folder_ / ""), "is not a file");
  expect_refused(add(good, "/dev/null"), "is not a file");
  expect_refused(add(good, folder_ / "no/such/h.db"), "there is no directory for it");
  expect_refused(ringside("history list --db " + folder_ / "absent.db"), "there is no such file");
  EXPECT_FALSE(fs::exists(folder_ / "absent.db"));
}

/// Garbage in every part of the file in turn: a message, or an answer from what is still whole; no crash.
TEST_F(ProgramHistory, DamagedFilesEndInAMessage) {
  ASSERT_EQ(add(results(1, 200), db_).status, 0);
  const std::string whole = text_of(db_), more = results(2, 20);
  std::mt19937_64 bits(3);
  int refused = 0;
  for (int round = 0; round < 24; ++round) {
    std::string broken = whole;
    if (round % 3 == 0) {
      broken.resize(100 + bits() % (whole.size() - 100));
    } else {
      const std::size_t from = 100 + bits() % (whole.size() - 1000);
      for (std::size_t i = 0; i < 600; ++i) broken[from + i] = static_cast<char>(bits());
    }
    for (const std::string& command : {std::string("list"), std::string("export"), "add " + more}) {
      const std::string file = folder_.write("broken.db", broken);
      const Outcome outcome = ringside("history " + command + " --db " + file);
      EXPECT_THAT(outcome.status, AnyOf(0, 2)) << command << " " << round << ": " << outcome.err;
      if (outcome.status != 2) continue;
      ++refused;
      EXPECT_THAT(outcome.err, AllOf(StartsWith("ringside: " + file + ": "), EndsWith("\n")));
      for (const char* left : {"-wal", "-shm", "-journal"}) fs::remove(file + left);
    }
  }
  EXPECT_GT(refused, 10);
}

// --- disks

/// A limit on the size of files stands for a disk that fills up.
TEST_F(ProgramHistory, AFullDiskIsStatus5AndLosesNothing) {
  ASSERT_EQ(add(results(1, 10), db_).status, 0);
  const std::string big = results(2, 5000);
  const Outcome outcome =
      run("trap '' XFSZ; ulimit -f 200; " + program("history add " + big + " --db " + db_));
  expect_refused(outcome, db_ + ": ", 5);
  EXPECT_EQ(rows_of(db_), (std::map<std::string, std::int64_t>{{"commit-1", 10}}));
  EXPECT_EQ(add(big, db_).status, 0);
  EXPECT_EQ(rows_of(db_).at("commit-2"), 5000);
  fs::remove(folder_ / "fresh.db");
  expect_refused(
      run("trap '' XFSZ; ulimit -f 8; " + program("history add " + big + " --db " + folder_ / "fresh.db")),
      "fresh.db: ", 5);
  EXPECT_EQ(add(big, folder_ / "fresh.db").status, 0);
}

/// Root may write everywhere but in /sys.
TEST_F(ProgramHistory, ADirectoryThatMayNotBeWritten) {
  const std::string good = results(1, 3);
  expect_refused(add(good, geteuid() == 0 ? "/sys/history.db" : "/history.db"), "history.db: ");
}

TEST_F(ProgramHistory, AFileThatMayNotBeWrittenIsRead) {
  ASSERT_EQ(add(results(1, 3), db_).status, 0);
  const std::string more = results(2, 3);
  if (geteuid() == 0) GTEST_SKIP() << "root may write it";
  fs::permissions(db_, fs::perms::owner_read);
  fs::permissions(folder_ / "", fs::perms::owner_read | fs::perms::owner_exec);
  const Outcome listed = ringside("history list --db " + db_), refused = add(more, db_);
  fs::permissions(folder_ / "", fs::perms::owner_all);
  EXPECT_EQ(listed.status, 0) << listed.err;
  expect_refused(refused, "may not be written");
}

// --- list and export

TEST_F(ProgramHistory, ListShowsRunsAndSteps) {
  std::vector<HistoryRow> rows;
  for (int day = 1; day <= 14; ++day)
    rows.push_back(on_day(day, (day < 9 ? 0.0121 : 0.0139) * (day % 2 == 0 ? 1.001 : 1)));
  rows[8].subject = "Make \x1b[31mit <b>slower</b>\n";
  rows.push_back(on_day(14, 1));
  rows.back().name = "lasp";
  rows.back().status = "FAIL";
  ASSERT_EQ(add(folder_.write("r.jsonl", lines_of(rows)), db_).status, 0);
  const Outcome listed = ringside("history list --db " + db_);
  EXPECT_EQ(listed.status, 0) << listed.err;
  EXPECT_THAT(
      listed.out,
      AllOf(
          HasSubstr(
              "\nring: 12.1 ms → 13.9 ms (+14.9%) since c9 (Make \\x1b[31mit <b>slower</b>\\n), 14 points\n"),
          EndsWith("1 series of forward_backward_s, 1 with change points\n")));
  const std::vector<std::string> lines = whole_lines(listed.out);
  ASSERT_GT(lines.size(), 15U);
  EXPECT_THAT(lines[14], AllOf(StartsWith("2026-01-14T00:00:00Z  c14 "), HasSubstr("  2     1  Day 14")));
  EXPECT_THAT(ringside("history list --db " + db_ + " --filter lasp").out,
              EndsWith("\n\n0 series of forward_backward_s, 0 with change points\n"));
  EXPECT_THAT(ringside("history list --db " + db_ + " --figure peak_bytes").out,
              EndsWith("\n\n1 series of peak_bytes, 0 with change points\n"));
  expect_refused(ringside("history list --db " + db_ + " --figure beauty"), "'beauty' is not a figure");
  expect_refused(ringside("history list --db " + db_ + " --filter '('"), "not a regular expression");
}

TEST_F(ProgramHistory, ExportHasEverything) {
  std::vector<HistoryRow> rows(2);
  rows[1].name = "with, comma and \"quotes\"\r\nand <script>";
  rows[1].status = "FAIL";
  ASSERT_EQ(add(folder_.write("r.jsonl", lines_of(rows)), db_).status, 0);
  const Outcome csv = ringside("history export --db " + db_);
  EXPECT_EQ(csv.status, 0) << csv.err;
  EXPECT_THAT(csv.out, StartsWith("name,status,reason,commit,subject,started,fingerprint,communicator,device,"
                                  "world,nth,oversubscribed,o_bound_share,o_row_share,"));
  EXPECT_THAT(csv.out,
              HasSubstr("\nring,pass,,c0,A subject,2026-01-01T00:00:00Z,f,threads,cpu,0,1,false,inf,nan,"));
  EXPECT_THAT(csv.out, HasSubstr("\n\"with, comma and \"\"quotes\"\"\r\nand <script>\",FAIL,because,"));
  EXPECT_THAT(csv.out, EndsWith(",\"{\"\"cpu\"\":\"\"of f\"\"}\"\n"));

  const std::string out = folder_.write("out.json", "what was there before");
  EXPECT_EQ(ringside("history export --db " + db_ + " --json -o " + out).status, 0);
  const auto json = Json::parse(text_of(out));
  ASSERT_EQ(json.size(), 2U);
  EXPECT_EQ(json[1]["name"], rows[1].name);
  EXPECT_EQ(json[0]["figures"]["forward_backward_s"], 0.01);
  EXPECT_EQ(json[0]["figures"]["o_row_share"], "nan");
  EXPECT_FALSE(json[0]["figures"].contains("dq_row_share"));
  EXPECT_EQ(json[0]["machine"]["cpu"], "of f");
  EXPECT_THAT(files(), Not(::testing::Contains(EndsWith(".new"))));
  expect_refused(ringside("history export --db " + db_ + " -o " + db_), "is the database itself");
  expect_refused(ringside("history export --db " + db_ + " -o " + folder_ / "no/such"), "no/such");
}

/// The file that was there stays as it was if there is no place for the new one.
TEST_F(ProgramHistory, ExportIsWholeOrNotThere) {
  ASSERT_EQ(add(results(1, 3000), db_).status, 0);
  const std::string out = folder_.write("out.csv", "before");
  const std::string exporting = "history export --db " + db_ + " -o ";
  const Outcome outcome = run("trap '' XFSZ; ulimit -f 200; " + program(exporting + out));
  EXPECT_EQ(outcome.status, 5);
  EXPECT_EQ(text_of(out), "before");
  EXPECT_FALSE(fs::exists(out + ".new"));
  EXPECT_EQ(ringside(exporting + "/dev/full").status, 5);
  EXPECT_EQ(ringside(exporting + "/dev/null").status, 0);
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
  EXPECT_EQ(ringside(exporting + out).status, 0);
  EXPECT_EQ(whole_lines(text_of(out)).size(), 3001U);
}

}  // namespace
}  // namespace ringside
