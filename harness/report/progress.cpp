#include "harness/report/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "harness/base/terminal.h"
#include "harness/base/text.h"
#include "harness/report/table.h"

namespace ringside {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

Progress::Progress(bool visible, int cases) : visible_(visible), cases_(cases), start_(now()) {}

Progress::~Progress() { clear(); }

double Progress::elapsed() const { return now() - start_; }

void Progress::clear() {
  if (!visible_ || !terminal().err) return;
  fmt::print(notes(), "\r\033[K");
  std::fflush(notes());
}

void Progress::begin(const std::string& what) {
  if (!visible_ || !terminal().err) return;
  const int filled = cases_ == 0 ? 0 : 20 * done_ / cases_;
  const std::string left =
      done_ == 0 ? "" : ", " + human_seconds(elapsed() / done_ * (cases_ - done_)) + " left";
  std::string line =
      fmt::format("[{}{}] {}/{}{}  {}", std::string(static_cast<std::size_t>(filled), '#'),
                  std::string(static_cast<std::size_t>(20 - filled), '.'), done_, cases_, left, what);
  line.resize(std::min(line.size(), static_cast<std::size_t>(terminal().width - 1)));
  fmt::print(notes(), "\r\033[K{}", line);
  std::fflush(notes());
}

void Progress::done(const std::string& line) {
  ++done_;
  if (!visible_) return;
  clear();
  fmt::print(notes(), "[{}/{}] {}\n", done_, cases_, line);
  std::fflush(notes());
}

void Progress::row(const std::string& text) {
  ++done_;
  if (!visible_) return;
  clear();
  fmt::print("{}", text);
  flush_output();
}

}  // namespace ringside
