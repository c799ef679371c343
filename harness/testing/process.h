// Real processes for tests: start one, signal it, wait, look at what it said and took.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace ringside {

/// The whole of a file; empty if there is none.
inline std::string text_of(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// A folder of this test program that goes with the object.
class TempFolder {
 public:
  TempFolder() {
    std::string name = ::testing::TempDir() + "ringside_test.XXXXXX";
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp " + name);
    path_ = name;
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  std::string operator/(const std::string& name) const { return path_ / name; }
  /// Writes a file of the folder and returns its path.
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(path_ / name, std::ios::binary) << text;
    return path_ / name;
  }

 private:
  std::filesystem::path path_;
};

/// How a process ended.
struct Outcome {
  int status = 0;  ///< of its exit, or 128 + the signal that killed it
  std::string out, err;
  long peak_kb = 0;  ///< largest resident set of it and of the children it waited for
};

/// `command` run by the shell, in the background. To be the shell's own process, it starts with "exec".
class Process {
 public:
  explicit Process(std::string command) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    const auto redirect = [&](int stream, const std::string& path) {
      posix_spawn_file_actions_addopen(&actions, stream, path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    };
    redirect(STDOUT_FILENO, folder_ / "out");
    redirect(STDERR_FILENO, folder_ / "err");
    std::string shell = "/bin/sh", flag = "-c";
    std::array<char*, 4> argv{shell.data(), flag.data(), command.data(), nullptr};
    const int error = posix_spawn(&pid_, shell.c_str(), &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) throw std::runtime_error("cannot start " + command);
  }
  ~Process() {
    if (pid_ == 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  Outcome wait() {
    int status = 0;
    rusage usage{};
    EXPECT_EQ(wait4(pid_, &status, 0, &usage), pid_);
    pid_ = 0;
    return {.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
            .out = text_of(folder_ / "out"),
            .err = text_of(folder_ / "err"),
            .peak_kb = usage.ru_maxrss};
  }

 private:
  TempFolder folder_;
  pid_t pid_ = 0;
};

inline Outcome run(const std::string& command) { return Process(command).wait(); }

/// True once `done` holds; false if it does not within a minute.
template <class Condition>
bool eventually(Condition done) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (!done()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return true;
}

}  // namespace ringside
