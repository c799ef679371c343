#include "harness/program/launch.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <string_view>
#include <system_error>

#include "distributed/comm/mpi_communicator.h"
#include "harness/base/fingerprint.h"
#include "harness/base/terminal.h"
#include "reference/error.h"

namespace ringside {
namespace {

// NAME=VALUE of ci/mpi.env, with which the tests run too; and Open MPI 4 is silenced, which prints 11 lines
// for each status but 0, and its reasons for failing with them. Open MPI 5 does not let itself be silenced.
constexpr std::array mpi_environment{RINGSIDE_MPI_ENVIRONMENT, "OMPI_MCA_orte_execute_quiet=1"};

/// argv of exec: pointers into `words`, closed by a null.
std::vector<char*> exec_arguments(std::vector<std::string>& words) {
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  return argv;
}

[[noreturn]] void throw_errno(std::string_view what) {
  throw InfrastructureError(fmt::format("{}: {}", what, std::strerror(errno)));
}

/// Blocks the signals that launch() waits for; the old mask is back when it goes.
class WatchedSignals {
 public:
  WatchedSignals() {
    sigemptyset(&watched_);
    for (const int signal : {SIGCHLD, SIGINT, SIGTERM, SIGHUP}) sigaddset(&watched_, signal);
    sigprocmask(SIG_BLOCK, &watched_, &before_);
  }
  ~WatchedSignals() { restore(); }
  WatchedSignals(const WatchedSignals&) = delete;
  WatchedSignals& operator=(const WatchedSignals&) = delete;

  void restore() const { sigprocmask(SIG_SETMASK, &before_, nullptr); }
  /// The next signal; 0 if `seconds` pass without one.
  int wait(int seconds) const {
    const timespec patience{.tv_sec = seconds, .tv_nsec = 0};
    return std::max(0, sigtimedwait(&watched_, nullptr, &patience));
  }

 private:
  sigset_t watched_, before_;
};

/// Does not return but if mpirun cannot be run; errno says why.
void become_mpirun(std::vector<std::string>& command, const WatchedSignals& signals, pid_t parent) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);  // at SIGTERM mpirun ends its ranks
  if (getppid() != parent) _exit(127);
  signals.restore();
  for (const std::string_view entry : mpi_environment) {
    const auto equals = entry.find('=');
    setenv(std::string(entry.substr(0, equals)).c_str(), std::string(entry.substr(equals + 1)).c_str(), 0);
  }
  const int nothing = open("/dev/null", O_RDONLY);
  dup2(nothing, STDIN_FILENO);
  execvp(command[0].c_str(), exec_arguments(command).data());
}

std::string signal_name(int signal) {
  const char* name = sigabbrev_np(signal);
  return name != nullptr ? fmt::format("SIG{}", name) : fmt::format("signal {}", signal);
}

/// The ranks' status, or why there is none; `command` is named where only mpirun can tell.
int judge(int status, const std::vector<std::string>& command) {
  if (WIFSIGNALED(status)) {
    throw InfrastructureError(fmt::format("mpirun was killed ({})", signal_name(WTERMSIG(status))));
  }
  const int code = WEXITSTATUS(status);
  if (code == 0) return 0;
  for (int own = 1; own <= 4; ++own) {
    if (code == rank_status(own)) return own;
  }
  int signal = code - 128;
  if (MpiSession::library_version()->starts_with("MPICH")) signal = code;  // hydra tells it bare
  std::string reason;
  if (code == 5) {
    reason = "a rank reported an infrastructure failure";
  } else if (sigabbrev_np(signal) != nullptr && code != 1) {
    reason = fmt::format("a rank was killed ({})", signal_name(signal));
  } else {
    reason = "a failure of its own; Open MPI 4 says which if OMPI_MCA_orte_execute_quiet=0 is set:";
    for (const std::string& word : command) reason += ' ' + word;
  }
  throw InfrastructureError(fmt::format("mpirun ended with status {}: {}", code, reason));
}

}  // namespace

int launch(int ranks, std::span<const std::string> program_args, const LaunchOptions& options) {
  if (ranks < 1) throw std::invalid_argument(fmt::format("launch: {} ranks", ranks));
  if (!MpiSession::library_version()) throw UsageError("launch: this build is without MPI");
  constexpr int kRanksACore = 64;  // they wait for each other by spinning
  if (ranks > kRanksACore * usable_cores()) {
    throw UsageError(fmt::format("launch -n {}: more than {} ranks for each of {} cores", ranks, kRanksACore,
                                 usable_cores()));
  }
  std::vector<std::string> command{options.mpirun};
  command.insert(command.end(), options.mpirun_args.begin(), options.mpirun_args.end());
  command.insert(command.end(), {"-n", std::to_string(ranks)});
  command.push_back(options.program.empty() ? std::filesystem::read_symlink("/proc/self/exe").string()
                                            : options.program);
  command.push_back(fmt::format("{}={}", launched_flag, to_word(terminal())));
  command.insert(command.end(), program_args.begin(), program_args.end());

  std::signal(SIGCHLD, SIG_DFL);  // ignored, it would take the status away
  const WatchedSignals signals;
  std::array<int, 2> ends{};  // closed by exec; what comes through is the errno of one that failed
  if (pipe2(ends.data(), O_CLOEXEC) != 0) throw_errno("pipe2");
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0) throw_errno("fork");
  if (child == 0) {
    become_mpirun(command, signals, parent);
    _exit(write(ends[1], &errno, sizeof errno) < 0 ? 126 : 127);
  }
  close(ends[1]);
  int error = 0, status = 0;
  const bool failed = read(ends[0], &error, sizeof error) > 0;
  close(ends[0]);
  if (failed) {
    waitpid(child, nullptr, 0);
    throw InfrastructureError(
        fmt::format("cannot run {}: {}; install an MPI (apt-get install openmpi-bin) or name "
                    "one with --mpirun PATH",
                    options.mpirun, std::strerror(error)));
  }
  int interrupted_by = 0;
  pid_t ended = 0;
  while ((ended = waitpid(child, &status, WNOHANG)) == 0) {
    const int signal = signals.wait(10);
    if (signal == 0 && interrupted_by != 0) {  // it does not want to hear: its ranks vanish with it
      kill(child, SIGKILL);
    } else if (signal != 0 && signal != SIGCHLD) {
      interrupted_by = signal;
      kill(child, signal);
    }
  }
  if (ended < 0) throw_errno("waitpid");
  if (interrupted_by != 0) {
    throw InfrastructureError(fmt::format("interrupted ({})", signal_name(interrupted_by)));
  }
  return judge(status, command);
}

std::optional<int> environment_rank() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"}) {
    const char* text = std::getenv(name);
    int rank = 0;
    if (text != nullptr && std::from_chars(text, text + std::strlen(text), rank).ec == std::errc{})
      return rank;
  }
  return std::nullopt;
}

}  // namespace ringside
