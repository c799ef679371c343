#include "harness/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "harness/table.h"

namespace ringside {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

int terminal_width() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80;
}

}  // namespace

Progress::Progress(bool visible, int cases)
    : visible_(visible),
      terminal_(isatty(STDERR_FILENO) != 0),
      cases_(cases),
      width_(terminal_width()),
      start_(now()) {}

Progress::~Progress() { clear(); }

double Progress::elapsed() const { return now() - start_; }

void Progress::clear() {
  if (visible_ && terminal_) fmt::print(stderr, "\r\033[K");
}

void Progress::begin(const std::string& what) {
  if (!visible_ || !terminal_) return;
  const int filled = cases_ == 0 ? 0 : 20 * done_ / cases_;
  const std::string left =
      done_ == 0 ? "" : ", " + human_seconds(elapsed() / done_ * (cases_ - done_)) + " left";
  std::string line =
      fmt::format("[{}{}] {}/{}{}  {}", std::string(static_cast<std::size_t>(filled), '#'),
                  std::string(static_cast<std::size_t>(20 - filled), '.'), done_, cases_, left, what);
  line.resize(std::min(line.size(), static_cast<std::size_t>(width_ - 1)));
  fmt::print(stderr, "\r\033[K{}", line);
  std::fflush(stderr);
}

void Progress::done(const CaseResult& result, double seconds) {
  if (terminal_ && result.status == Status::pass) {
    ++done_;
    return clear();
  }
  done(fmt::format("{} {} ({})", to_string(result.status), result.c.name(), human_seconds(seconds)));
}

void Progress::done(const std::string& line) {
  ++done_;
  if (!visible_) return;
  clear();
  fmt::print(stderr, "[{}/{}] {}\n", done_, cases_, line);
}

}  // namespace ringside
