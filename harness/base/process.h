// Starts other programs, one at a time, and watches over them.
#pragma once

#include <csignal>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "reference/error.h"

namespace ringside {

/// How a program ended.
struct Ended {
  int status = 0;         ///< of its exit, or 128 + killed_by
  int killed_by = 0;      ///< the signal; 0: it exited
  std::string out, said;  ///< what it wrote to stdout, and to stderr, if the Supervisor has a folder for it
};

/// "SIGKILL"; "signal 99" for one without a name.
std::string signal_name(int signal);

/// "cannot run PROGRAM: why".
class CannotRun : public InfrastructureError {
 public:
  using InfrastructureError::InfrastructureError;
};

/// Runs programs. While it exists SIGINT, SIGTERM and SIGHUP are blocked and met in run(), so that whoever
/// waits for a program can still report what was finished.
class Supervisor {
 public:
  /// `scratch`: a folder for what programs print; empty: they print where this process does.
  explicit Supervisor(std::filesystem::path scratch = {});
  ~Supervisor();
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  struct Options {
    std::span<const char* const> environment{};  ///< NAME=VALUE, each set where this process has no NAME
    std::optional<int> patience_s{};             ///< then the program is told to end
  };

  /// command[0] is looked up on PATH unless it holds a slash. The program has an empty stdin, a process group
  /// of its own, and gets SIGTERM if this process dies. A signal is handed on to it; what has not ended 10 s
  /// after it was told to is killed. Throws CannotRun; InfrastructureError, once the program has ended, if
  /// that was after `patience_s`, or "interrupted (SIGINT)" if a signal came.
  Ended run(std::vector<std::string> command, const Options& options) const;
  Ended run(std::vector<std::string> command) const { return run(std::move(command), {}); }

 private:
  std::filesystem::path scratch_;
  sigset_t watched_{}, before_{};
};

}  // namespace ringside
