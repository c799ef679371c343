// Runs that do not end well: a wrong verdict, a full disk, a killed process. What was known stays known.
#include <gmock/gmock.h>

#include <algorithm>
#include <csignal>
#include <span>

#include "harness/testing/ranks.h"

namespace ringside {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;

// --- verdicts that end a run

/// One token whose only value is 0 leaves nothing that could have been wrong: no verdict to trust, status 1.
constexpr const char* kMistrusted =
    "variant,seq,head_dim,fill,seed\n"
    "ring,5,3,,1\nring,1,1,exact,1\nring,5,3,,3\nring,1,1,exact,19\n";

TEST(WrongResult, IsStatus1AndSaysHowToRepeatIt) {
  const TempFolder folder;
  const std::string cases = folder.write("cases.csv", kMistrusted);
  const std::string sweep = "sweep " + cases + " --no-perf --out " + folder / "out";
  const Outcome all = ringside(sweep);
  EXPECT_EQ(all.status, 1);
  EXPECT_THAT(all.out, HasSubstr("4 cases: 2 passed, 0 failed, 2 mistrusted, 0 skipped"));
  EXPECT_EQ(names_in(folder / "out/results.jsonl").size(), 4U);
  const std::string repeat = "  repeat: ";
  const auto at = all.out.find(repeat) + repeat.size();
  ASSERT_LT(at, all.out.size());
  const Outcome again = run("exec " + all.out.substr(at, all.out.find('\n', at) - at));
  EXPECT_EQ(again.status, 1);
  EXPECT_THAT(again.out, HasSubstr("1 cases: 0 passed, 0 failed, 1 mistrusted, 0 skipped"));
  const Outcome launched = ringside("launch -n 2 -- " + sweep);
  EXPECT_EQ(launched.status, 1);
  EXPECT_EQ(launched.err.find("\nringside: "), std::string::npos) << launched.err;
}

TEST(WrongResult, FailFastStopsThere) {
  const TempFolder folder;
  const std::string sweep =
      "sweep " + folder.write("cases.csv", kMistrusted) + " --no-perf --fail-fast --out " + folder / "out";
  EXPECT_EQ(ringside(sweep).status, 1);
  const std::vector<std::string> names = names_in(folder / "out/results.jsonl");
  ASSERT_EQ(names.size(), 2U);
  EXPECT_THAT(names[0], EndsWith("seed1"));
  EXPECT_THAT(names[1], EndsWith("exact-seed1"));
}

// --- disks

TEST(FullDisk, IsStatus5AndNamesTheFile) {
  for (const std::string full : {"results.jsonl", "results.csv"}) {
    const TempFolder folder;
    std::filesystem::create_symlink("/dev/full", folder / full);
    const std::string sweep = "sweep " + kSmoke + " --filter lightning --no-perf --out " + folder / "";
    const Outcome outcome = ringside(sweep);
    EXPECT_EQ(outcome.status, 5);
    const std::string said = "/" + full + ": write failed: No space left on device\n";
    EXPECT_THAT(outcome.err, EndsWith(said));
    const Outcome launched = ringside("launch -n 2 -- " + sweep);
    EXPECT_EQ(launched.status, 5);
    EXPECT_THAT(launched.err, HasSubstr(said));
    EXPECT_EQ(launched.err.find(said), launched.err.rfind(said)) << "told once: " << launched.err;
  }
}

/// A limit on the size of files stands for a disk that fills up: a write that crosses it is cut short, the
/// next fails.
TEST(FullDisk, EarlierRowsStay) {
  const TempFolder folder;
  const std::string sweep = "sweep " + kSmoke + " --no-perf --out " + folder / "out";
  ASSERT_EQ(ringside(sweep).status, 0);
  const auto all = names_in(folder / "out/results.jsonl");
  const auto size = std::filesystem::file_size(folder / "out/results.jsonl");
  const auto blocks = std::to_string(size / 2 / 512);  // the unit of ulimit -f
  const Outcome outcome = run("trap '' XFSZ; ulimit -f " + blocks + "; " + program(sweep));
  EXPECT_EQ(outcome.status, 5);
  EXPECT_THAT(outcome.err, HasSubstr("results.jsonl: write failed: File too large\n"));
  const auto kept = names_in(folder / "out/results.jsonl");
  EXPECT_GE(kept.size(), all.size() / 4);
  EXPECT_LT(kept.size(), all.size());
  EXPECT_TRUE(std::ranges::equal(kept, std::span(all).first(kept.size())));
  EXPECT_EQ(whole_lines(text_of(folder / "out/results.csv")).size(), 1 + kept.size());
}

TEST(FullDisk, LostTensorsAreStatus5) {
  const TempFolder folder;
  const std::string cases = folder.write("cases.csv", "variant,seq,head_dim\nring,64,64\n");
  const Outcome outcome =
      run("trap '' XFSZ; ulimit -f 8; " + program("sweep " + cases + " --no-perf --dump " + folder / "dump"));
  EXPECT_EQ(outcome.status, 5);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr(".npy"), HasSubstr("File too large\n")));
  for (const auto& file : std::filesystem::recursive_directory_iterator(folder / "dump")) {
    EXPECT_NE(file.path().extension(), ".npy") << "a tensor that is not whole: " << file.path();
  }
}

// --- killed

/// Short cases, and then one that takes minutes in a few megabytes.
constexpr const char* kLong =
    "variant,dtype,seq,head_dim,sp,causal\n"
    "ring,fp32,16|17|18,8,1,\n"
    "ring,fp32,262144,8,2,false\n";

TEST(Killed, FinishedRowsStay) {
  const TempFolder folder;
  Process sweep(program("sweep " + folder.write("cases.csv", kLong) + " --repeat 1 --out " + folder / "out"));
  ASSERT_TRUE(eventually([&] { return names_in(folder / "out/results.jsonl").size() == 3; }));
  kill(sweep.pid(), SIGKILL);
  EXPECT_EQ(sweep.wait().status, 128 + SIGKILL);
  const auto names = names_in(folder / "out/results.jsonl");
  ASSERT_EQ(names.size(), 3U);
  EXPECT_THAT(names[2], HasSubstr("-n18-"));
  EXPECT_THAT(text_of(folder / "out/results.csv"), EndsWith("\n"));
}

TEST(Killed, LostRankIsStatus5AndTold) {
  const TempFolder folder;
  Process launch(program("launch -n 2 -- sweep " + folder.write("cases.csv", kLong) + " --no-perf --out " +
                         folder / "out"));
  ASSERT_TRUE(eventually([&] { return names_in(folder / "out/results.jsonl").size() == 3; }));
  std::set<pid_t> ranks = family(launch.pid(), "ringside");
  ranks.erase(launch.pid());
  ASSERT_EQ(ranks.size(), 2U);
  kill(*ranks.rbegin(), SIGKILL);
  const Outcome outcome = launch.wait();
  EXPECT_EQ(outcome.status, 5);
  EXPECT_THAT(outcome.err,
              EndsWith("\nringside: mpirun ended with status 137: a rank was killed (SIGKILL)\n"));
  EXPECT_THAT(outcome.err, HasSubstr(" of 2: ended by SIGTERM, waiting "));
  const auto lines = whole_lines(unwrapped(without_mpirun(outcome.err))).size();
  EXPECT_EQ(lines, 3U) << outcome.err;  // plan, survivor, end
  EXPECT_EQ(names_in(folder / "out/results.jsonl").size(), 3U);
}

/// A rank that stands still is what a deadlock looks like to the others.
TEST(Killed, StoppedRankRunsIntoTheDeadline) {
  const TempFolder folder;
  const std::string cases =
      folder.write("cases.csv", "variant,seq,head_dim,sp,seed\nring,64,8,2,1\nring,512,64,2,2\n");
  Process launch(
      program("launch -n 2 -- sweep " + cases + " --timeout 1 --repeat 100000 --out " + folder / "out"));
  std::set<pid_t> ranks;
  ASSERT_TRUE(eventually([&] { return !text_of(folder / "out/results.csv").empty(); }));  // MPI is up
  ranks = family(launch.pid(), "ringside");
  ranks.erase(launch.pid());
  ASSERT_EQ(ranks.size(), 2U);
  kill(*ranks.begin(), SIGSTOP);
  const Outcome outcome = launch.wait();
  EXPECT_EQ(outcome.status, 5);
  EXPECT_THAT(outcome.err, HasSubstr("ringside: rank "));
}

}  // namespace
}  // namespace ringside
