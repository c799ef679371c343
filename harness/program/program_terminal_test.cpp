// A sweep as people watch it: rows, bar, colours, pipes.
#include <gmock/gmock.h>
#include <pty.h>

#include <algorithm>
#include <regex>

#include "harness/testing/program.h"

namespace ringside {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::string without_colors(const std::string& text) {
  return std::regex_replace(text, std::regex("\033\\[[0-9;]*m"), "");
}

/// Without what no two runs have in common.
std::string without_times(const std::string& text) {
  return std::regex_replace(unwrapped(text), std::regex("where the time went.*\n"), "");
}

/// What `command` sends to a terminal of 80 columns that both of its outputs are.
Outcome on_terminal(const std::string& command) {
  const winsize size{.ws_row = 24, .ws_col = 80, .ws_xpixel = 0, .ws_ypixel = 0};
  int terminal = -1;
  const pid_t pid = forkpty(&terminal, nullptr, nullptr, &size);
  if (pid == 0) {
    execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
    _exit(127);
  }
  Outcome outcome;
  std::array<char, 4096> buffer{};
  for (ssize_t got = 0; (got = read(terminal, buffer.data(), buffer.size())) > 0;)  // an error at its end
    outcome.out.append(buffer.data(), static_cast<std::size_t>(got));
  close(terminal);
  int status = 0;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return outcome;
}

/// What is left to see of it, colours included.
std::string seen(const std::string& sent) {
  std::string screen, line;
  for (std::size_t i = 0; i < sent.size(); ++i) {
    if (sent[i] == '\n') {
      screen += line + '\n';
      line.clear();
    } else if (sent.compare(i, 4, "\r\033[K") == 0) {
      line.clear();
      i += 3;
    } else if (sent[i] != '\r') {
      line += sent[i];
    }
  }
  return screen + line;
}

TEST(SweepTable, FitsEightyColumns) {
  for (const std::string launch : {"", "launch -n 4 -- "}) {
    const Outcome outcome = ringside(launch + "sweep " + kSmoke);
    ASSERT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_THAT(outcome.out, AllOf(HasSubstr("\n#1 pass "), HasSubstr("\n#1    "), Not(HasSubstr("\033"))));
    for (const std::string& line : whole_lines(outcome.out)) EXPECT_LE(line.size(), 80U) << line;
    EXPECT_THAT(outcome.err, Not(HasSubstr("pass")));  // the rows tell
  }
}

TEST(SweepTable, RowsComeWhileTheSweepGoesOn) {
  const TempFolder folder;
  const std::string pipe = folder / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  const int held = open(pipe.c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_EQ(fcntl(held, F_SETPIPE_SZ, 4096),
            4096);  // a few rows fill it: the sweep waits until they are read
  Process sweep(program("sweep " + kSmoke + " --no-perf --out " + folder / "out" + " > " + pipe));
  std::string text;
  const auto take = [&](int from) {
    std::array<char, 512> buffer{};
    const ssize_t got = read(from, buffer.data(), buffer.size());
    text.append(buffer.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    return got > 0;
  };
  while (text.find("#1 pass ") == std::string::npos && take(held)) {
  }
  const std::size_t rows = whole_lines(text_of(folder / "out/results.jsonl")).size();
  const int end = open(pipe.c_str(), O_RDONLY | O_CLOEXEC);
  close(held);
  while (take(end)) {
  }
  close(end);
  EXPECT_EQ(sweep.wait().status, 0);
  const std::size_t all = whole_lines(text_of(folder / "out/results.jsonl")).size();
  EXPECT_LT(rows, all / 2);
  std::size_t at = 0;
  for (std::size_t row = 1; row <= all; ++row) {
    at = text.find("\n#" + std::to_string(row) + " pass ", at);
    ASSERT_NE(at, std::string::npos) << row;
  }
}

TEST(SweepTable, ThatNobodyCanReadSpoilsNoFile) {
  const TempFolder folder;
  const std::string sweep = program(
      "sweep " + kSmoke + " --no-perf --filter 'ring-softmax-fp32.*sp2-full' --out " + folder / "out");
  const std::vector<std::pair<std::string, int>> closed{
      {" >&-", 5}, {" <&- >&-", 5}, {" >/dev/full", 5}, {" 2>&-", 0}, {" 2>/dev/full", 5}};
  for (const auto& [how, status] : closed) {
    const Outcome outcome = run(sweep + how);
    EXPECT_EQ(outcome.status, status) << how;
    const bool told = how.find('2') == std::string::npos;
    EXPECT_EQ(outcome.err.find("ringside: standard output: write failed") != std::string::npos, told) << how;
    const std::string rows = text_of(folder / "out/results.jsonl");
    EXPECT_TRUE(rows.empty() || rows.starts_with("{\"schema\"")) << how << rows;
  }
}

TEST(SweepTable, ColoursAreAskedForOrRefused) {
  const std::string sweep = "sweep " + kSmoke + " --no-perf --filter 'ring-softmax-fp32.*sp2-full' --color ";
  for (const std::string launch : {"", "launch -n 2 -- "}) {
    const Outcome always = run("NO_COLOR=1 TERM=dumb " + program(launch + sweep + "always")),
                  never = ringside(launch + sweep + "never");
    EXPECT_THAT(always.out, HasSubstr("\033[32mpass\033[0m"));
    EXPECT_THAT(never.out, AllOf(HasSubstr("#1 pass "), Not(HasSubstr("\033"))));
    EXPECT_EQ(without_times(without_colors(always.out)), without_times(never.out));
  }
}

TEST(SweepOnATerminal, ShowsABarAndLeavesWhatAPipeGets) {
  const std::string sweep = "sweep " + kSmoke + " --no-perf --filter 'ring-softmax-fp(32|16).*sp2-full'";
  for (const std::string launch : {"", "launch -n 2 -- "}) {
    const Outcome piped = ringside(launch + sweep);
    for (const std::string environment : {"", "NO_COLOR= ", "NO_COLOR=1 ", "TERM=dumb "}) {
      SCOPED_TRACE(launch + environment);
      const Outcome shown = on_terminal("TERM=xterm " + environment + program(launch + sweep));
      EXPECT_EQ(shown.status, 0);
      const bool dumb = environment.starts_with("TERM"), colors = !dumb && environment != "NO_COLOR=1 ";
      auto left = whole_lines(without_times(without_colors(seen(shown.out))));
      auto piped_lines = whole_lines(without_times(piped.err + piped.out));
      if (dumb && !launch.empty()) {  // mpirun carries standard output and error each by itself
        std::ranges::sort(left);
        std::ranges::sort(piped_lines);
      }
      EXPECT_EQ(left, piped_lines);
      EXPECT_EQ(shown.out.find("\033[32mpass\033[0m") != std::string::npos, colors);
      EXPECT_EQ(shown.out.find("\033[K[....................] 0/2  reference") != std::string::npos, !dumb);
      EXPECT_EQ(shown.out.find("] 0/2  ring fp32 dp1 sp2  b2 n64") != std::string::npos, !dumb);
      EXPECT_EQ(shown.out.find("\033[K[##########..........] 1/2, ") != std::string::npos, !dumb);
    }
  }
}

TEST(SweepOnATerminal, TheBarIsThereToIfTheTableGoesToAFileButNotUnderMpi) {
  const TempFolder folder;
  const std::string sweep = "sweep " + kSmoke + " --no-perf --filter 'ring-softmax-fp32.*sp2-full'";
  for (const std::string launch : {"", "launch -n 2 -- "}) {
    const Outcome outcome = on_terminal("TERM=xterm " + program(launch + sweep + " > " + folder / "out"));
    EXPECT_EQ(outcome.out.find("[....................] 0/1  reference") != std::string::npos, launch.empty());
    EXPECT_THAT(text_of(folder / "out"), AllOf(HasSubstr("\n#1 pass "), Not(HasSubstr("\033"))));
    const Outcome quiet = on_terminal("TERM=xterm " + program(launch + sweep + " 2> " + folder / "err"));
    EXPECT_THAT(quiet.out, AllOf(HasSubstr(" \033[0m\033[32mpass"), Not(HasSubstr("\033[K"))));
    EXPECT_THAT(text_of(folder / "err"), Not(HasSubstr("\033")));
  }
}

TEST(SweepUnderMpirun, HasNoTerminalWhateverMpirunGivesRanks) {
  const Outcome outcome = run("TERM=xterm exec " MPIRUN " -n 2 " RINGSIDE_PROGRAM " sweep " + kSmoke +
                              " --no-perf --filter 'ring-softmax-fp32.*sp2-full'");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("\n#1 pass "), Not(HasSubstr("\033"))));
  EXPECT_THAT(outcome.err, Not(HasSubstr("\033")));
}

}  // namespace
}  // namespace ringside
