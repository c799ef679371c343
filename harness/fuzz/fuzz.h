// Checks that the fuzz targets share. A target reads anything at all: UsageError is the answer to a bad file,
// every other exception, and what a sanitizer finds, ends the program and leaves its input behind.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace ringside {

inline constexpr std::string_view kFuzzName = "fuzzed file";

/// Ends the program with `what` unless `holds`.
inline void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

/// What goes for every message: it begins with the file's name and holds nothing that a terminal obeys.
inline void check_message(std::string_view message) {
  require(message.starts_with(kFuzzName) && message.substr(kFuzzName.size()).starts_with(':'),
          "a message names the file");
  unsigned char before = 0;
  for (const char c : message) {
    const auto byte = static_cast<unsigned char>(c);
    const bool is_high = before == 0xc2 && byte >= 0x80 && byte < 0xa0;  // U+0080 to U+009F
    require((byte >= 0x20 || byte == '\t') && byte != 0x7f && !is_high,
            "a message has no control characters");
    before = byte;
  }
}

/// "file:line: message" besides: the line, counted from 1, is in `text` or begins where it ends. Returns it,
/// with what follows.
inline std::string_view check_line(std::string_view message, std::string_view text) {
  std::size_t line = 0;
  require(std::sscanf(message.data() + kFuzzName.size(), ":%zu:", &line) == 1, "a message names the line");
  require(line >= 1, "lines count from 1");
  for (; line > 1; --line) {
    const std::size_t end = text.find('\n');
    require(end != text.npos, "the line is in the file");
    text.remove_prefix(end + 1);
  }
  return text;
}

/// "file:line:column: message": the column, counted from 1 in characters, is in the line or where it ends.
inline void check_place(std::string_view message, std::string_view text) {
  const std::string_view rest = check_line(message, text);
  std::size_t column = 0;
  require(std::sscanf(message.data() + kFuzzName.size(), ":%*u:%zu: ", &column) == 1,
          "a message names the column");
  require(column >= 1 && column <= rest.substr(0, rest.find('\n')).size() + 1, "the column is in the line");
}

}  // namespace ringside
