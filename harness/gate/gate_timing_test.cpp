// gate --base --head and time: real processes on tiny cases. What times come to is asserted nowhere.
#include <gmock/gmock.h>

#include "harness/base/fingerprint.h"
#include "harness/base/json.h"
#include "harness/cases/select_cases.h"
#include "harness/gate/decide.h"
#include "harness/gate/noise.h"
#include "harness/testing/program.h"
#include "reference/error.h"

namespace ringside {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;
constexpr const char* kTimed = "variant,seq,head_dim,sp\nring,16,8,1\n";
constexpr const char* kTwoRanks = "variant,seq,heads,head_dim,sp\nring|ulysses,16,2,8,2\n";

/// The gate on the program as base and `head` (the program with a fault), in a folder of its own.
class TimedGate : public ::testing::Test {
 protected:
  Outcome gate(const std::string& table, const std::string& fault, const std::string& more = "") const {
    return run("RINGSIDE_FAULT=" + fault + " exec " + RINGSIDE_PROGRAM + " gate --base " + RINGSIDE_PROGRAM +
               " --head " + RINGSIDE_FAULTY + " " + folder_.write("cases.csv", table) + " --noise " +
               folder_ / "noise.csv" + " --json " + folder_ / "gate.json" + " " + more);
  }
  Json report() const { return Json::parse(text_of(folder_ / "gate.json")); }

  TempFolder folder_;
};

TEST_F(TimedGate, TimesEqualProgramsInPairs) {
  const Outcome outcome = gate(kTimed, "", "--seed 5");
  EXPECT_EQ(outcome.status, 0) << outcome.err << outcome.out;
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("seed 5\n"), HasSubstr("rounds, in %:")));
  const Json timed = report().at("timed");
  ASSERT_EQ(timed.size(), 1U);
  EXPECT_THAT(timed[0].at("name").get<std::string>(), testing::StartsWith("ring-softmax-"));
  EXPECT_THAT(timed[0].at("verdict").get<std::string>(), Not(testing::AnyOf("SLOW", "FAST")));  // no history
  EXPECT_EQ(timed[0].at("delta"), 0.03);
  EXPECT_EQ(report().at("seed"), 5);
  EXPECT_EQ(report().at("exact").size(), 0U);
}

TEST_F(TimedGate, TellsItsFreshSeed) {
  const Outcome outcome = gate(kTimed, "wrong");
  EXPECT_THAT(outcome.err, ContainsRegex("seed [0-9]+\n"));
}

TEST_F(TimedGate, RefusesAWrongRankAndDoesNotTimeIt) {
  const Outcome outcome = gate(kTwoRanks, "wrong");
  EXPECT_EQ(outcome.status, 1) << outcome.err;
  const Json json = report();
  EXPECT_EQ(json.at("timed").size(), 0U);
  ASSERT_GE(json.at("exact").size(), 2U);
  EXPECT_EQ(json.at("exact")[0].at("what"), "status");
  EXPECT_THAT(json.at("exact")[0].at("head").get<std::string>(), testing::StartsWith("FAIL"));
  EXPECT_THAT(json.at("notes").dump(), HasSubstr("its result is wrong in head"));
}

TEST_F(TimedGate, RefusesMoreMemory) {
  const Outcome outcome = gate(kTimed, "hungry");
  EXPECT_EQ(outcome.status, 1) << outcome.err << outcome.out;
  EXPECT_THAT(report().at("exact").dump(), HasSubstr("forward_memory"));
}

TEST_F(TimedGate, SaysThatARankWasKilled) {
  for (const std::string more : {"", "--mpi 2"}) {
    const Outcome outcome = gate(kTwoRanks, "killed", more);
    EXPECT_EQ(outcome.status, 5) << outcome.err;
    EXPECT_THAT(outcome.err, AllOf(HasSubstr("ringside: head "), HasSubstr("sweep"), HasSubstr("SIGKILL")));
  }
}

TEST_F(TimedGate, SaysThatATimedRankWasKilled) {
  const Outcome outcome = gate(kTimed, "killed_later");
  EXPECT_EQ(outcome.status, 5) << outcome.err;
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("head was killed (SIGKILL)"), HasSubstr(" time ")));
}

TEST_F(TimedGate, TimesNoMoreRanksThanCores) {
  const std::string one_too_many =
      "variant,seq,head_dim,sp\nring,512,8," + std::to_string(usable_cores() + 1) + "\n";
  const Outcome outcome = gate(one_too_many, "");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(report().at("timed").size(), 0U);
  EXPECT_THAT(outcome.out, HasSubstr("is not timed: more ranks than the "));
}

TEST_F(TimedGate, RunsUnderMpi) {
  const Outcome outcome = gate(kTwoRanks, "wrong", "--mpi 2");
  EXPECT_EQ(outcome.status, 1) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("mpi 2"));
}

TEST_F(TimedGate, CalibratesAndThenKnowsTheNoise) {
  const std::string cases = folder_.write("cases.csv", kTimed);
  const std::string calibrate = std::string("gate --calibrate --head ") + RINGSIDE_PROGRAM + " " + cases +
                                " --noise " + folder_ / "new/noise.csv";
  const Outcome outcome = ringside(calibrate);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("A/A rounds added to "));
  const auto noise = read_noise(folder_ / "new/noise.csv");
  if (noise.empty()) GTEST_SKIP() << "every round was contaminated: this machine is too busy to calibrate";
  ASSERT_EQ(noise.size(), 1U);
  EXPECT_EQ(noise[0].ranks, "threads");
  EXPECT_EQ(noise[0].device, "cpu");
}

TEST_F(TimedGate, KnowsASlowProgramByTheNoise) {
  const Case c = select_cases(folder_.write("cases.csv", kTimed), "").at(0);
  CaseNoise noise = {.name = c.name(), .ranks = "threads", .device = "cpu"};
  noise.log_ratios.assign(kEnoughNoise, 0.001);  // of a quiet machine: delta is 3%
  add_noise(folder_ / "noise.csv", noise, "c", "2026-01-02T03:04:05Z");
  const Outcome outcome = gate(kTimed, "slow=3", "--noise " + folder_ / "noise.csv");
  ASSERT_EQ(report().at("timed").size(), 1U) << outcome.err;
  if (report().at("timed")[0].at("verdict") == "CONTAMINATED") GTEST_SKIP() << "this machine is too busy";
  EXPECT_EQ(report().at("timed")[0].at("verdict"), "SLOW") << outcome.out;
  EXPECT_EQ(outcome.status, 3);
}

TEST_F(TimedGate, ReportsWhatIsFinishedWhenInterrupted) {
  Process process(std::string("exec ") + RINGSIDE_PROGRAM + " gate --base " + RINGSIDE_PROGRAM + " --head " +
                  RINGSIDE_PROGRAM + " " + folder_.write("cases.csv", kTimed) + " --json " +
                  folder_ / "gate.json" + " 2> " + folder_ / "said");
  ASSERT_TRUE(eventually([&] { return text_of(folder_ / "said").find("; seed ") != std::string::npos; }));
  kill(process.pid(), SIGINT);
  EXPECT_EQ(process.wait().status, 5) << text_of(folder_ / "said");
  EXPECT_THAT(text_of(folder_ / "said"), HasSubstr("interrupted (SIGINT)"));
  EXPECT_EQ(report().at("unfinished"), "interrupted (SIGINT)");
  EXPECT_EQ(report().at("verdict"), "INCOMPLETE (exit status 5): interrupted (SIGINT)");
}

// --- bad input

TEST_F(TimedGate, RefusesProgramsThatAreNone) {
  const std::string cases = folder_.write("cases.csv", kTimed);
  const auto script = [&](const std::string& name, const std::string& text) {
    const std::string path = folder_.write(name, text);
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    return path;
  };
  const auto gate_of = [&](const std::string& base) {
    return ringside("gate --base " + base + " --head " + RINGSIDE_PROGRAM + " " + cases);
  };
  const auto expect_usage = [&](const std::string& base, const std::string& why) {
    const Outcome outcome = gate_of(base);
    EXPECT_EQ(outcome.status, 2) << outcome.err;
    EXPECT_THAT(outcome.err, AllOf(HasSubstr("--base " + base), HasSubstr(why)));
  };
  expect_usage(folder_ / "missing", "no such program");
  expect_usage(folder_.write("text", "text"), "cannot run " + folder_ / "text" + ": Permission denied");
  expect_usage(script("orphan", "#!/no/such/shell\n"), "orphan: No such file or directory");
  expect_usage("/bin/true", "is no ringside");
  expect_usage(
      script("old", "#!/bin/sh\nif [ $1 = --version ]; then echo 'ringside 0.1 (abc)'; else exit 2; fi\n"),
      "before there was `ringside time`");
  EXPECT_EQ(ringside("gate --head " + std::string(RINGSIDE_PROGRAM) + " " + cases).status, 2);
  EXPECT_EQ(ringside("gate --base " + std::string(RINGSIDE_PROGRAM) + " " + cases).status, 2);
  EXPECT_EQ(ringside("gate " + cases).status, 2);
  EXPECT_THAT(ringside("gate --calibrate --base a --head b " + cases).err, HasSubstr("--calibrate"));
}

TEST_F(TimedGate, RefusesCasesAsTheProgramsDo) {
  const Outcome unknown = gate("variant,seq,head_dim\nnone_such,16,8\n", "");
  EXPECT_EQ(unknown.status, 2);
  EXPECT_THAT(unknown.err, HasSubstr("none_such"));
  EXPECT_EQ(gate(kTimed, "", "--filter nothing").status, 2);
  EXPECT_EQ(gate(kTimed, "", "--seed -1").status, 2);
  EXPECT_EQ(gate(kTimed, "", "--mpi 0").status, 2);
  EXPECT_EQ(gate(kTimed, "", "--allow-missing").status, 2);  // of the gate on results
  const Outcome device = gate(kTimed, "", "--device none");
  EXPECT_EQ(device.status, 2);
  EXPECT_THAT(device.err, HasSubstr("no such device"));
}

// --- noise.csv

TEST(Noise, IsReadBackByCaseRanksAndDevice) {
  const TempFolder folder;
  const std::filesystem::path file = folder / "a/b/noise.csv";
  EXPECT_TRUE(read_noise(file).empty());
  add_noise(file, {"one", "threads", "cpu", {0.25, -1e-9}}, "abc", "now");
  add_noise(file, {"two", "threads", "cpu", {1}}, "abc", "now");
  add_noise(file, {"one", "mpi 2", "cpu", {3}}, "abc", "now");
  add_noise(file, {"one", "threads", "cpu", {0.5}}, "abc", "now");
  const auto all = read_noise(file);
  ASSERT_EQ(all.size(), 3U);
  EXPECT_THAT(find_noise(all, {"one", "threads", "cpu", {}}), testing::ElementsAre(0.25, -1e-9, 0.5));
  EXPECT_THAT(find_noise(all, {"one", "mpi 2", "cpu", {}}), testing::ElementsAre(3));
  EXPECT_TRUE(find_noise(all, {"one", "threads", "cuda", {}}).empty());
  add_noise(file, {"one", "threads", "cuda", {7}}, "a commit, as a program tells it", "now");
  EXPECT_THAT(find_noise(read_noise(file), {"one", "threads", "cuda", {}}), testing::ElementsAre(7));
}

TEST(Noise, LosesATornLineAlone) {
  const TempFolder folder;
  const std::string head = std::string(kNoiseHeader) + "\n";
  const std::string file =
      folder.write("noise.csv", head + "one,threads,cpu,abc,now,0.5\none,threads,cpu,abc,n");
  EXPECT_EQ(read_noise(file).at(0).log_ratios.size(), 1U);
  add_noise(file, {"one", "threads", "cpu", {0.75}}, "abc", "now");
  EXPECT_EQ(text_of(file), head + "one,threads,cpu,abc,now,0.5\none,threads,cpu,abc,now,0.75\n");
}

TEST(Noise, RefusesWhatIsNone) {
  const TempFolder folder;
  const std::string head = std::string(kNoiseHeader) + "\n";
  const auto refusal = [&](const std::string& text) -> std::string {
    try {
      read_noise(folder.write("noise.csv", text));
    } catch (const UsageError& error) {
      return error.what();
    }
    return "none";
  };
  EXPECT_THAT(refusal("case,other\n"), HasSubstr("noise.csv:1: not the header"));
  for (const std::string line :
       {"a,b,c,d,e", "a,b,c,d,e,0.5,", "", "a,b,c,d,e,nan", "a,b,c,d,e,inf", "a,b,c,d,e,", "a,b,c,d,e,1x",
        "a,b,c,d,e,1e999", "\"a,b,c,d,e,1", "a\",b,c,d,e,1"}) {
    EXPECT_THAT(refusal(head + line + "\n"), HasSubstr("noise.csv:2: ")) << line;
  }
  const std::string other = folder.write("other.csv", "mine\n");
  EXPECT_THROW(add_noise(other, {"one", "threads", "cpu", {1}}, "abc", "now"), UsageError);
  EXPECT_EQ(text_of(other), "mine\n");
  EXPECT_THROW(add_noise(folder / "other.csv/noise.csv", {"one", "threads", "cpu", {1}}, "a", "n"),
               UsageError);
}

// --- time

TEST(Time, WritesEveryIterationAndNoVerdict) {
  const TempFolder folder;
  const std::string time =
      "time " + folder.write("cases.csv", kTwoRanks) + " --repeat 4 --out " + folder / "times";
  for (const std::string launch : {"", "launch -n 2 -- "}) {
    const Outcome outcome = ringside(launch + time);
    ASSERT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_THAT(outcome.out, HasSubstr("2 cases: times only, nothing judged"));
    const auto lines = whole_lines(text_of(folder / "times"));
    ASSERT_EQ(lines.size(), 2U);
    for (const std::string& line : lines) {
      const Json row = Json::parse(line);
      EXPECT_FALSE(row.contains("status"));
      EXPECT_TRUE(row.at("oversubscribed").is_boolean());
      EXPECT_EQ(row.at("communicator"), launch.empty() ? "threads" : "mpi");
      const auto forward = row.at("forward_s").get<std::vector<double>>();
      const auto both = row.at("forward_backward_s").get<std::vector<double>>();
      ASSERT_EQ(forward.size(), 4U);
      ASSERT_EQ(both.size(), 4U);
      for (std::size_t i = 0; i < 4; ++i) {
        EXPECT_GT(forward[i], 0);
        EXPECT_GT(both[i], forward[i]);
      }
    }
  }
}

TEST(Time, SaysWhatItLeavesOut) {
  const TempFolder folder;
  const std::string cases = folder.write("cases.csv", "variant,seq,head_dim,sp\nring,16,8,1|2\n");
  const std::string time = "time " + cases + " --ranks 1 --repeat 1 --out " + folder / "times";
  EXPECT_EQ(ringside(time).status, 0);
  const auto lines = whole_lines(text_of(folder / "times"));
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_THAT(lines[0] + lines[1], HasSubstr("\"skipped\""));
  EXPECT_EQ(ringside(time + " --filter sp2").status, 2);
  EXPECT_EQ(ringside("time " + cases).status, 2);
  EXPECT_EQ(ringside("time " + cases + " --repeat 0 --out " + folder / "times").status, 2);
  EXPECT_EQ(ringside("time " + cases + " --out " + folder / "none/times").status, 2);
}

}  // namespace
}  // namespace ringside
