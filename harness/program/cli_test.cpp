// Tests the parser, and the real program's command line. Its path is RINGSIDE_PROGRAM, mpirun's MPIRUN.
#include "harness/program/cli.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>

#include "distributed/comm/mpi_communicator.h"
#include "harness/base/fingerprint.h"
#include "harness/testing/program.h"
#include "reference/error.h"

namespace ringside {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using ::testing::ThrowsMessage;

const std::string any_file = RINGSIDE_PROGRAM;  // any file that exists

Command parse(std::vector<std::string> args) { return parse_command_line(args); }

TEST(Parse, SweepDefaults) {
  const auto options = std::get<SweepOptions>(parse({"sweep", any_file}));
  EXPECT_EQ(options.cases, any_file);
  EXPECT_EQ(options.filter, "");
  EXPECT_EQ(options.out, std::nullopt);
  EXPECT_EQ(options.dump, std::nullopt);
  EXPECT_EQ(options.trace, std::nullopt);
  EXPECT_EQ(options.repeat, std::nullopt);
  EXPECT_EQ(timed_iterations(options, false), 3);
  EXPECT_EQ(timed_iterations(options, true), 1);
  EXPECT_EQ(options.ranks, std::nullopt);
  EXPECT_EQ(options.comm, SweepOptions::Comm::automatic);
  EXPECT_EQ(options.device, "cpu");
  EXPECT_TRUE(options.perf);
  EXPECT_FALSE(options.fail_fast);
  EXPECT_FALSE(options.resume);
  EXPECT_EQ(options.timeout_s, 120);
  EXPECT_EQ(options.color, Color::automatic);
}

TEST(Parse, SweepTakesEveryOption) {
  const auto options = std::get<SweepOptions>(
      parse({"sweep", "--filter", "ring.*n2048$", "--out", "o", "--dump=d", "--repeat", "7", "--ranks", "4",
             any_file, "--comm", "mpi", "--device", "cuda", "--no-perf", "--fail-fast", "--timeout", "0.5"}));
  EXPECT_EQ(options.cases, any_file);
  EXPECT_EQ(options.filter, "ring.*n2048$");
  EXPECT_EQ(options.out, "o");
  EXPECT_EQ(options.dump, "d");
  EXPECT_EQ(options.repeat, 7);
  EXPECT_EQ(options.ranks, 4);
  EXPECT_EQ(options.comm, SweepOptions::Comm::mpi);
  EXPECT_EQ(options.device, "cuda");
  EXPECT_FALSE(options.perf);
  EXPECT_EQ(timed_iterations(options, false), 0);
  EXPECT_TRUE(options.fail_fast);
  EXPECT_EQ(options.timeout_s, 0.5);
  EXPECT_EQ(std::get<SweepOptions>(parse({"sweep", any_file, "--color", "never"})).color, Color::never);
  EXPECT_EQ(std::get<CheckOptions>(parse({"check", "/", "--color", "always"})).color, Color::always);
  EXPECT_TRUE(std::get<SweepOptions>(parse({"sweep", any_file, "--out", "o", "--resume"})).resume);
  EXPECT_EQ(std::get<SweepOptions>(parse({"sweep", any_file, "--trace", "t.json"})).trace, "t.json");
}

TEST(Parse, TheLastOfARepeatedOptionCounts) {
  EXPECT_EQ(std::get<SweepOptions>(parse({"sweep", any_file, "--out", "a", "--out", "b"})).out, "b");
}

TEST(Parse, ExplainTakesWhichCases) {
  const auto options = std::get<ExplainOptions>(
      parse({"explain", any_file, "--filter", "lasp", "--ranks", "2", "--comm", "threads"}));
  EXPECT_EQ(options.cases, any_file);
  EXPECT_EQ(options.filter, "lasp");
  EXPECT_EQ(options.ranks, 2);
  EXPECT_EQ(options.comm, SweepOptions::Comm::threads);
}

TEST(Parse, LaunchWithAndWithoutDashes) {
  for (const bool dashes : {true, false}) {
    std::vector<std::string> words{"launch",        "-n",           "4", "--mpirun", "/opt/mpirun",
                                   "--mpirun-args", "--host a  --x"};
    if (dashes) words.emplace_back("--");
    words.insert(words.end(), {"sweep", any_file, "--ranks", "2"});
    const auto command = std::get<LaunchCommand>(parse(words));
    EXPECT_EQ(command.ranks, 4);
    EXPECT_EQ(command.options.mpirun, "/opt/mpirun");
    EXPECT_THAT(command.options.mpirun_args, ElementsAre("--host", "a", "--x"));
    EXPECT_THAT(command.program_args, ElementsAre("sweep", any_file, "--ranks", "2"));
  }
}

TEST(Parse, LaunchChecksWhatItLaunches) {
  EXPECT_TRUE(std::holds_alternative<Text>(parse({"launch", "-n", "4", "sweep", "--help"})));
  EXPECT_THAT(
      [] {
        parse({"launch", "-n", "4", "--", "sweep", "/no/such.csv"});
      },
      ThrowsMessage<UsageError>(HasSubstr("/no/such.csv")));
  EXPECT_THAT(
      [] {
        parse({"launch", "-n", "4", "launch", "-n", "2", "list"});
      },
      ThrowsMessage<UsageError>(HasSubstr("itself")));
  EXPECT_THAT([] { parse({"launch", "-n", "4", "--"}); }, ThrowsMessage<UsageError>(HasSubstr("what shall")));
}

TEST(Parse, WrongUsageNamesTheArgument) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> wrong{
      {{}, "sub-command is missing"},
      {{"swep"}, "swep"},
      {{"--frobnicate"}, "--frobnicate"},
      {{"list", "extra"}, "extra"},
      {{"sweep"}, "CASES is required"},
      {{"sweep", "/no/such.csv"}, "/no/such.csv"},
      {{"sweep", "/"}, "CASES"},
      {{"sweep", any_file, "more"}, "more"},
      {{"sweep", any_file, "--frobnicate"}, "--frobnicate"},
      {{"sweep", any_file, "--out"}, "--out"},
      {{"sweep", any_file, "--repeat", "0"}, "--repeat"},
      {{"sweep", any_file, "--repeat", "many"}, "many"},
      {{"sweep", any_file, "--ranks", "-1"}, "--ranks"},
      {{"sweep", any_file, "--ranks", "2.5"}, "2.5"},
      {{"sweep", any_file, "--timeout", "0"}, "--timeout"},
      {{"sweep", any_file, "--resume"}, "--resume requires --out"},
      {{"sweep", any_file, "--out", "o", "--resume", "--dump", "d"}, "excludes"},
      {{"sweep", any_file, "--out", "o", "--resume", "--trace", "t"}, "excludes"},
      {{"sweep", any_file, "--trace", "t", "--no-perf"}, "--trace excludes --no-perf"},
      {{"sweep", any_file, "--trace"}, "--trace"},
      {{"sweep", any_file, "--timeout", "nan"}, "--timeout"},
      {{"sweep", any_file, "--timeout", "5s"}, "5s"},
      {{"sweep", any_file, "--comm", "pigeon"}, "pigeon"},
      {{"sweep", any_file, "--color", "pink"}, "pink"},
      {{"sweep", any_file, "--comm", "1"}, "--comm"},
      {{"sweep", any_file, "--filter", "ring("}, "'ring(' is not a regular expression"},
      {{"sweep", any_file, "--filter", "[z-a]"}, "'[z-a]' is not a regular expression"},
      {{"explain", any_file, "--repeat", "3"}, "--repeat"},
      {{"launch", "list"}, "--ranks is required"},
      {{"launch", "-n", "0", "list"}, "--ranks"},
      {{"launch", "-n", "2", "--frobnicate", "list"}, "--frobnicate"},
  };
  for (const auto& [args, named] : wrong) {
    EXPECT_THAT(
        [&args = args] { parse(args); },
        ThrowsMessage<UsageError>(AllOf(HasSubstr(named), HasSubstr("ringside"), Not(HasSubstr("\n")))))
        << ::testing::PrintToString(args);
  }
}

/// Number of lines of `text` that start with "ringside".
int own_lines(const std::string& text) {
  int count = text.starts_with("ringside") ? 1 : 0;
  for (auto at = text.find("\nringside"); at != std::string::npos; at = text.find("\nringside", at + 1))
    ++count;
  return count;
}

TEST(Program, HelpAndVersionGoToStdout) {
  const Outcome help = ringside("--help");
  EXPECT_EQ(help.status, 0);
  EXPECT_EQ(help.err, "");
  EXPECT_THAT(help.out, AllOf(HasSubstr("Examples:"), HasSubstr("Exit status:"), EndsWith("\n")));
  for (const char* word : {"list", "sweep", "explain", "launch"}) EXPECT_THAT(help.out, HasSubstr(word));
  const Outcome version = ringside("--version");
  EXPECT_EQ(version.status, 0);
  EXPECT_EQ(version.err, "");
  EXPECT_THAT(version.out, StartsWith("ringside "));
  const Outcome sweep = ringside("sweep --help");
  EXPECT_EQ(sweep.status, 0);
  for (const char* option : {"--filter", "--out", "--dump", "--repeat", "--ranks", "--comm", "--device",
                             "--no-perf", "--fail-fast", "--timeout", "--resume", "--color"}) {
    EXPECT_THAT(sweep.out, HasSubstr(option));
  }
}

TEST(Program, WrongUsageIsOneLineAndStatus2) {
  for (const char* args :
       {"", "--frobnicate", "sweep", "sweep /no/such.csv", "launch -n 2 -- sweep /no/such.csv"}) {
    const Outcome outcome = ringside(args);
    EXPECT_EQ(outcome.status, 2) << args;
    EXPECT_EQ(outcome.out, "") << args;
    EXPECT_THAT(outcome.err, AllOf(StartsWith("ringside: "), EndsWith("\n"))) << args;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  }
}

TEST(Program, WithoutMpiSaysSo) {
  if (MpiSession::library_version()) GTEST_SKIP() << "built with MPI";
  const TempFolder folder;
  const std::string sweep = "sweep " + folder.write("any_file.csv", "variant,seq,head_dim\nring,5,3\n");
  for (const std::string& args : {"launch -n 2 -- " + sweep, sweep + " --comm mpi"}) {
    const Outcome outcome = ringside(args);
    EXPECT_EQ(outcome.status, 2) << args;
    EXPECT_THAT(outcome.err, AllOf(StartsWith("ringside: "), EndsWith("this build is without MPI\n")));
  }
}

TEST(Program, MissingMpirunIsInfrastructure) {
  if (!MpiSession::library_version()) GTEST_SKIP() << "built without MPI";
  const Outcome outcome = ringside("launch -n 2 --mpirun /no/such/mpirun list");
  EXPECT_EQ(outcome.status, 5);
  EXPECT_THAT(outcome.err, HasSubstr("/no/such/mpirun"));
}

// ctest gives this test the environment that mpirun needs.
TEST(Program, RanksSpeakOnce) {
  if (!MpiSession::library_version()) GTEST_SKIP() << "built without MPI";
  const std::string three = fmt::format("{} -n 3 {} ", MPIRUN, RINGSIDE_PROGRAM);
  const Outcome version = run(three + "--version");
  EXPECT_EQ(version.status, 0);
  EXPECT_EQ(own_lines(version.out), 1) << version.out;
  const Outcome wrong = run(three + "--frobnicate");
  EXPECT_EQ(wrong.status, 2);
  EXPECT_EQ(own_lines(wrong.err), 1) << wrong.err;
  const Outcome launched = run(three + "--launched --frobnicate");
  EXPECT_EQ(launched.status, rank_status(2));
}

}  // namespace
}  // namespace ringside
