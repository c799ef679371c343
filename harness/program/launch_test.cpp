// With real processes: launch_probe (its path is LAUNCH_PROBE) under the real mpirun.
#include "harness/program/launch.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <list>
#include <map>
#include <stdexcept>
#include <string_view>

#include "distributed/comm/mpi_communicator.h"
#include "harness/testing/process.h"
#include "reference/error.h"

namespace ringside {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::StartsWith;
using ::testing::ThrowsMessage;

int probe(int ranks, std::vector<std::string> args, LaunchOptions options = {}) {
  options.program = LAUNCH_PROBE;
  return launch(ranks, args, options);
}

/// launch() in a process of its own, as the program does it.
class Launcher {
 public:
  Launcher(int ranks, const std::vector<std::string>& args) {
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
    pid_ = fork();
    if (pid_ == 0) {
      try {
        _exit(probe(ranks, args));
      } catch (const InfrastructureError& error) {
        const std::string_view what = error.what();
        _exit(write(ends[1], what.data(), what.size()) < 0 ? 6 : 5);
      }
    }
    close(ends[1]);
    message_from_ = ends[0];
  }
  Launcher(const Launcher&) = delete;
  Launcher& operator=(const Launcher&) = delete;
  ~Launcher() { close(message_from_); }

  pid_t pid() const { return pid_; }
  /// How it ended: its status, or 5 and the error's message, or 128 + the signal that killed it.
  std::pair<int, std::string> wait() const {
    int status = 0;
    EXPECT_EQ(waitpid(pid_, &status, 0), pid_);
    std::array<char, 1024> buffer{};
    const ssize_t got = read(message_from_, buffer.data(), buffer.size());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
            std::string(buffer.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0)))};
  }

 private:
  pid_t pid_ = 0;
  int message_from_ = -1;
};

TEST(Launch, StatusesPassThroughAndOtherEndsAreTold) {
  const std::string mpi = *MpiSession::library_version(), killed = mpi.starts_with("MPICH") ? "9" : "137";
  std::cout << mpi << '\n';  // whose statuses these are
  struct Run {
    std::vector<std::string> args;
    int status;
    std::string message;
  };
  const std::vector<Run> runs{
      {{"exit", "0"}, 0, ""},
      {{"exit", "1"}, 1, ""},
      {{"exit", "2"}, 2, ""},
      {{"exit", "3"}, 3, ""},
      {{"last", "4"}, 4, ""},
      {{"exit", "5"}, 5, "mpirun ended with status 5: a rank reported an infrastructure failure"},
      {{"suicide"}, 5, "mpirun ended with status " + killed + ": a rank was killed (SIGKILL)"},
      {{"exit", "77"}, 5, "mpirun ended with status 77"},
  };
  std::list<Launcher> launchers;  // at once: mpirun takes 2 s to end after a status but 0
  for (const Run& run : runs) launchers.emplace_back(2, run.args);
  for (const Run& run : runs) {
    const auto [status, message] = launchers.front().wait();
    EXPECT_EQ(status, run.status) << run.args[0];
    EXPECT_THAT(message, StartsWith(run.message)) << run.args[0];
    EXPECT_EQ(message.empty(), run.message.empty()) << message;
    launchers.pop_front();
  }
}

TEST(Launch, RankStatusMovesTheFourOnly) {
  EXPECT_EQ(rank_status(0), 0);
  EXPECT_EQ(rank_status(1), 65);
  EXPECT_EQ(rank_status(4), 68);
  EXPECT_EQ(rank_status(5), 5);
}

TEST(Launch, FailureOfMpirunIsNotAWrongResult) {
  EXPECT_THAT(
      [] {
        probe(1, {"exit", "0"}, {.mpirun_args = {"--no-such-option"}});
      },
      ThrowsMessage<InfrastructureError>(HasSubstr("mpirun --no-such-option -n 1")));
}

TEST(Launch, MissingMpirunIsTold) {
  EXPECT_THAT(
      [] {
        probe(1, {"exit", "0"}, {.mpirun = "/no/such/mpirun"});
      },
      ThrowsMessage<InfrastructureError>(AllOf(HasSubstr("/no/such/mpirun"), HasSubstr("install"))));
}

TEST(Launch, NeedsARank) { EXPECT_THROW(probe(0, {"exit", "0"}), std::invalid_argument); }

TEST(Launch, EnvironmentIsSetUnlessTheUserHasSetIt) {
  unsetenv("OMPI_MCA_rmaps_base_oversubscribe");
  EXPECT_EQ(probe(1, {"environment", "1"}), 0);
  setenv("OMPI_MCA_rmaps_base_oversubscribe", "0", 1);
  EXPECT_EQ(probe(1, {"environment", "0"}), 0);
  unsetenv("OMPI_MCA_rmaps_base_oversubscribe");
}

TEST(Launch, RanksReadNothing) {
  const int before = dup(STDIN_FILENO);
  const int file = open(LAUNCH_PROBE, O_RDONLY);
  ASSERT_GE(dup2(file, STDIN_FILENO), 0);
  EXPECT_EQ(probe(1, {"read"}), 0);
  dup2(before, STDIN_FILENO);
  close(file);
  close(before);
}

std::string make_folder(const std::string& path) {
  std::filesystem::create_directories(path);
  return path;
}

/// False too for a process that only waits for its parent to take its status.
bool is_running(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/stat");
  std::string stat;
  std::getline(in, stat);
  const auto name_end = stat.rfind(')');  // "pid (name) state …"
  return name_end != std::string::npos && stat.at(name_end + 2) != 'Z';
}

/// A launcher with two ranks that sleep. Whatever a test does to it, nothing may be left.
class SleepingLaunch : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(eventually([&] { return pids("rank").size() == 2; })) << "the ranks did not start";
    mpirun_ = pids("mpirun").at(0);
    ASSERT_TRUE(is_running(mpirun_));
    ASSERT_TRUE(is_running(pids("rank").at(0)));
  }
  void TearDown() override {
    EXPECT_TRUE(eventually([&] { return !is_running(mpirun_); })) << "mpirun is left";
    for (const pid_t rank : pids("rank")) {
      EXPECT_TRUE(eventually([&] { return !is_running(rank); })) << "a rank is left";
    }
    std::filesystem::remove_all(dir_);
  }

  std::vector<pid_t> pids(const std::string& kind) const {
    std::vector<pid_t> found;
    for (const auto& file : std::filesystem::directory_iterator(dir_)) {
      if (file.path().stem() == kind) found.push_back(std::stoi(file.path().extension().string().substr(1)));
    }
    return found;
  }

  std::string dir_ = make_folder(::testing::TempDir() + "ringside_launch." + std::to_string(getpid()));
  Launcher launcher_{2, {"sleep", dir_}};
  pid_t mpirun_ = 0;
};

TEST_F(SleepingLaunch, KilledLauncherLeavesNoOrphan) {
  kill(launcher_.pid(), SIGKILL);
  EXPECT_EQ(launcher_.wait().first, 128 + SIGKILL);
}

TEST_F(SleepingLaunch, SignalIsHandedOnAndTold) {
  kill(launcher_.pid(), SIGINT);
  EXPECT_THAT(launcher_.wait(), Pair(5, "interrupted (SIGINT)"));
}

TEST_F(SleepingLaunch, KilledMpirunIsTold) {
  kill(mpirun_, SIGKILL);
  EXPECT_THAT(launcher_.wait(), Pair(5, "mpirun was killed (SIGKILL)"));
  // Open MPI 5 leaves ranks that never call it; the program's go, as program_faults_test sees.
  for (const pid_t rank : pids("rank")) kill(rank, SIGKILL);
}

TEST(EnvironmentRank, ReadsWhatALauncherSets) {
  constexpr std::array names{"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"};
  std::map<std::string, std::string> before;
  for (const char* name : names) {
    if (const char* value = std::getenv(name)) before[name] = value;
    unsetenv(name);
  }
  EXPECT_EQ(environment_rank(), std::nullopt);
  for (const char* name : names) {
    setenv(name, "17", 1);
    EXPECT_EQ(environment_rank(), 17) << name;
    setenv(name, "", 1);
    EXPECT_EQ(environment_rank(), std::nullopt) << name;
    unsetenv(name);
  }
  for (const auto& [name, value] : before) setenv(name.c_str(), value.c_str(), 1);
}

}  // namespace
}  // namespace ringside
