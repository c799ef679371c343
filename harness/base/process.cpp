#include "harness/base/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>

#include "harness/base/files.h"

namespace ringside {
namespace {

constexpr std::chrono::seconds kGrace{10};  // from the first signal to SIGKILL

[[noreturn]] void throw_errno(std::string_view what, int error) {
  throw InfrastructureError(fmt::format("{}: {}", what, std::strerror(error)));
}

/// What exec takes, which does not write to it.
std::vector<char*> environment_with(std::span<const char* const> additions) {
  std::vector<char*> all;
  for (char** entry = environ; *entry != nullptr; ++entry) all.push_back(*entry);
  for (const char* entry : additions) {
    const std::string name(entry, std::strcspn(entry, "="));
    if (std::getenv(name.c_str()) == nullptr) all.push_back(const_cast<char*>(entry));
  }
  all.push_back(nullptr);
  return all;
}

/// What a child needs, all of it made before fork.
struct Plan {
  char* const* argv;
  char* const* environment;
  const char *out, *err;  // null: as they are
  const sigset_t& mask;
  pid_t parent;
};

bool redirect(int stream, const char* path, int flags) {
  const int file = open(path, flags, 0600);
  return file >= 0 && dup2(file, stream) >= 0;
}

/// In the child: async-signal-safe calls alone. Returns if the program cannot be run; errno says why.
void become(const Plan& plan) {
  constexpr int kAnew = O_WRONLY | O_CREAT | O_TRUNC;
  setpgid(0, 0);  // a terminal's Ctrl-C is for the parent to hand on
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != plan.parent) _exit(127);
  if (!redirect(STDIN_FILENO, "/dev/null", O_RDONLY)) return;
  if (plan.out != nullptr && !redirect(STDOUT_FILENO, plan.out, kAnew)) return;
  if (plan.err != nullptr && !redirect(STDERR_FILENO, plan.err, kAnew)) return;
  sigprocmask(SIG_SETMASK, &plan.mask, nullptr);
  execvpe(plan.argv[0], plan.argv, plan.environment);  // in glibc (from 2.24) and musl it allocates nothing
}

pid_t start(const Plan& plan) {
  std::array<int, 2> ends{};  // closed by exec; what comes through is the errno of one that failed
  if (pipe2(ends.data(), O_CLOEXEC) != 0) throw_errno("pipe2", errno);
  const pid_t child = fork();
  int error = errno;
  if (child == 0) {
    become(plan);
    error = errno;
    _exit(write(ends[1], &error, sizeof error) < 0 ? 126 : 127);
  }
  close(ends[1]);
  const bool failed = child > 0 && read(ends[0], &error, sizeof error) > 0;
  close(ends[0]);
  if (child < 0) throw_errno("fork", error);
  if (!failed) return child;
  waitpid(child, nullptr, 0);
  throw CannotRun(fmt::format("cannot run {}: {}", plan.argv[0], std::strerror(error)));
}

}  // namespace

std::string signal_name(int signal) {
  const char* name = sigabbrev_np(signal);
  return name != nullptr ? fmt::format("SIG{}", name) : fmt::format("signal {}", signal);
}

Supervisor::Supervisor(std::filesystem::path scratch) : scratch_(std::move(scratch)) {
  std::signal(SIGCHLD, SIG_DFL);  // ignored, it would take the status away
  sigemptyset(&watched_);
  for (const int signal : {SIGCHLD, SIGINT, SIGTERM, SIGHUP}) sigaddset(&watched_, signal);
  sigprocmask(SIG_BLOCK, &watched_, &before_);
}

Supervisor::~Supervisor() { sigprocmask(SIG_SETMASK, &before_, nullptr); }

Ended Supervisor::run(std::vector<std::string> command, const Options& options) const {
  const std::string out = scratch_ / "out", err = scratch_ / "err";
  const bool prints_there = !scratch_.empty();
  std::vector<char*> argv;
  for (std::string& word : command) argv.push_back(word.data());
  argv.push_back(nullptr);
  const std::vector<char*> environment = environment_with(options.environment);
  const pid_t child = start({.argv = argv.data(),
                             .environment = environment.data(),
                             .out = prints_there ? out.c_str() : nullptr,
                             .err = prints_there ? err.c_str() : nullptr,
                             .mask = before_,
                             .parent = getpid()});

  using Clock = std::chrono::steady_clock;
  std::optional<Clock::time_point> end;  // when it is to be told, or once it was told, killed
  if (options.patience_s) end = Clock::now() + std::chrono::seconds(*options.patience_s);
  int interrupted_by = 0, status = 0;
  bool told = false;
  const auto tell = [&](int signal) {
    kill(child, signal);
    if (!told) end = Clock::now() + kGrace;
    told = true;
  };
  pid_t ended = 0;
  while ((ended = waitpid(child, &status, WNOHANG)) == 0) {
    const timespec moment{.tv_sec = 1, .tv_nsec = 0};
    const int signal = sigtimedwait(&watched_, nullptr, &moment);
    if (signal > 0 && signal != SIGCHLD) {
      interrupted_by = signal;
      tell(signal);
    } else if (end && Clock::now() > *end) {
      tell(told ? SIGKILL : SIGTERM);
    }
  }
  if (ended < 0) throw_errno("waitpid", errno);
  if (interrupted_by != 0)
    throw InfrastructureError(fmt::format("interrupted ({})", signal_name(interrupted_by)));
  if (told) {
    throw InfrastructureError(fmt::format("{} has not ended after {} s", command[0], *options.patience_s));
  }
  Ended how{.status = WEXITSTATUS(status), .killed_by = 0, .out = {}, .said = {}};
  if (WIFSIGNALED(status)) how.status = 128 + (how.killed_by = WTERMSIG(status));
  if (prints_there) {
    how.out = read_file(out, out.max_size());
    how.said = read_file(err, err.max_size());
  }
  return how;
}

}  // namespace ringside
