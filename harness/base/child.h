// Programs that the gate runs, one at a time.
#pragma once

#include <csignal>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace ringside {

/// How a program ended.
struct Ended {
  int status = 0;         ///< of its exit, or 128 + the signal that killed it
  std::string out, said;  ///< what it wrote to stdout, and to stderr
};

/// SIGINT, SIGTERM or SIGHUP came.
class Interrupted : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Runs programs. While it exists signals are blocked and met in run(), so that whoever waits for a program
/// can still report what was finished.
class Children {
 public:
  /// `scratch`: a directory for what they print.
  explicit Children(std::filesystem::path scratch);
  ~Children();
  Children(const Children&) = delete;
  Children& operator=(const Children&) = delete;

  /// command[0] is a path; stdin is empty. The program gets SIGTERM if this process dies. Throws
  /// InfrastructureError if it cannot be started or has not ended after `patience_s`; Interrupted, once it
  /// has ended, for a signal.
  Ended run(std::vector<std::string> command, std::optional<int> patience_s = {}) const;

 private:
  std::filesystem::path scratch_;
  sigset_t watched_{}, before_{};
};

}  // namespace ringside
