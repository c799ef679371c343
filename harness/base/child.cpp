#include "harness/base/child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <iterator>

#include "reference/error.h"

namespace ringside {
namespace {

constexpr int kGraceSeconds = 10;  // from SIGTERM to SIGKILL

std::string text_of(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// In the child: async-signal-safe calls alone.
[[noreturn]] void become(char* const* argv, const char* out, const char* err, const sigset_t& mask,
                         pid_t parent) {
  setpgid(0, 0);  // a terminal's Ctrl-C is for the gate to hand on
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  const int in = open("/dev/null", O_RDONLY);
  const int to_out = open(out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  const int to_err = open(err, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  dup2(in, STDIN_FILENO);
  dup2(to_out, STDOUT_FILENO);
  dup2(to_err, STDERR_FILENO);
  sigprocmask(SIG_SETMASK, &mask, nullptr);
  if (getppid() == parent) execv(argv[0], argv);
  _exit(127);
}

}  // namespace

Children::Children(std::filesystem::path scratch) : scratch_(std::move(scratch)) {
  std::signal(SIGCHLD, SIG_DFL);  // ignored, it would take the status away
  sigemptyset(&watched_);
  for (const int signal : {SIGCHLD, SIGINT, SIGTERM, SIGHUP}) sigaddset(&watched_, signal);
  sigprocmask(SIG_BLOCK, &watched_, &before_);
}

Children::~Children() { sigprocmask(SIG_SETMASK, &before_, nullptr); }

Ended Children::run(std::vector<std::string> command, std::optional<int> patience_s) const {
  const std::string out = scratch_ / "out", err = scratch_ / "err";
  std::vector<char*> argv;
  for (std::string& word : command) argv.push_back(word.data());
  argv.push_back(nullptr);
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0) throw InfrastructureError(fmt::format("fork: {}", std::strerror(errno)));
  if (child == 0) become(argv.data(), out.c_str(), err.c_str(), before_, parent);

  using Clock = std::chrono::steady_clock;
  std::optional<Clock::time_point> end;  // when it is to be told, or once it was told, killed
  if (patience_s) end = Clock::now() + std::chrono::seconds(*patience_s);
  int interrupted_by = 0, status = 0;
  bool told = false;
  const auto tell = [&] {
    kill(child, told ? SIGKILL : SIGTERM);
    end = Clock::now() + std::chrono::seconds(kGraceSeconds);
    told = true;
  };
  pid_t ended = 0;
  while ((ended = waitpid(child, &status, WNOHANG)) == 0) {
    const timespec moment{.tv_sec = 1, .tv_nsec = 0};
    const int signal = sigtimedwait(&watched_, nullptr, &moment);
    if (signal > 0 && signal != SIGCHLD) {
      interrupted_by = signal;
      tell();
    } else if (end && Clock::now() > *end) {
      tell();
    }
  }
  if (ended < 0) throw InfrastructureError(fmt::format("waitpid: {}", std::strerror(errno)));
  if (interrupted_by != 0)
    throw Interrupted(fmt::format("interrupted (SIG{})", sigabbrev_np(interrupted_by)));
  if (told) throw InfrastructureError(fmt::format("{} has not ended after {} s", command[0], *patience_s));
  return {.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
          .out = text_of(out),
          .said = text_of(err)};
}

}  // namespace ringside
