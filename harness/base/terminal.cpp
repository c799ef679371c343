#include "harness/base/terminal.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "reference/error.h"

namespace ringside {
namespace {

std::string_view environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

Terminal look() {
  Terminal found;
  // Open MPI gives its ranks a terminal.
  if (!environment("OMPI_COMM_WORLD_RANK").empty() || environment("TERM") == "dumb") return found;
  found.out = isatty(STDOUT_FILENO) != 0;
  struct stat output {};
  const bool piped = fstat(STDOUT_FILENO, &output) == 0 && S_ISFIFO(output.st_mode);  // its reader may
  found.err = isatty(STDERR_FILENO) != 0 && !piped;
  found.colors = found.out && environment("NO_COLOR").empty();
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20) found.width = size.ws_col;
  return found;
}

Terminal& current() {
  static Terminal terminal = look();
  return terminal;
}

/// Columns that text takes.
std::size_t width_of(std::string_view text) {
  std::size_t width = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\033') {
      i = std::min(text.find('m', i), text.size());
    } else if ((static_cast<unsigned char>(text[i]) & 0xc0U) != 0x80) {  // not within a UTF-8 character
      ++width;
    }
  }
  return width;
}

}  // namespace

const Terminal& terminal() { return current(); }

std::FILE* notes() { return terminal().out && terminal().err ? stdout : stderr; }

void fill_standard_streams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(stream, F_GETFD) < 0) open("/dev/null", stream == STDERR_FILENO ? O_WRONLY : O_RDONLY);
  }
}

void flush_output() {
  errno = 0;
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return;
  throw InfrastructureError(fmt::format("standard output: write failed{}{}", errno == 0 ? "" : ": ",
                                        errno == 0 ? "" : std::strerror(errno)));
}

std::string to_word(const Terminal& terminal) {
  return fmt::format("{:d},{:d},{:d},{}", terminal.out, terminal.err, terminal.colors, terminal.width);
}

void set_terminal(std::string_view word) {
  int out = 0, err = 0, colors = 0, width = 0;
  if (std::sscanf(std::string(word).c_str(), "%d,%d,%d,%d", &out, &err, &colors, &width) != 4) return;
  // Open MPI 5 now and then brings what a rank prints to one of the two to the other.
  current() = {out != 0, out != 0 && err != 0, colors != 0, width};
}

std::string Paint::operator()(Style style, std::string_view text) const {
  constexpr std::array codes = {"32", "1;31", "33", "1"};  // green, bold red, yellow, bold
  return on ? fmt::format("\033[{}m{}\033[0m", codes[static_cast<std::size_t>(style)], text)
            : std::string(text);
}

std::string wrapped(std::string_view text, std::size_t indent) {
  std::string lines;
  std::size_t width = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' ', text.find_first_not_of(' ')), text.size());
    std::string_view word = text.substr(0, end);  // with the spaces before it
    text.remove_prefix(end);
    const std::size_t bare = std::min(word.find_first_not_of(' '), word.size());
    const std::size_t columns = width_of(word);
    if (width > indent && width + columns > kLineWidth && indent + columns - bare <= kLineWidth) {
      word.remove_prefix(bare);
      lines += '\n' + std::string(indent, ' ');
      width = indent;
    }
    lines += word;
    width += width_of(word);
  }
  return lines;
}

}  // namespace ringside
