// The one writer of CSV cells.
#pragma once

#include <string>
#include <string_view>

namespace ringside {

/// A cell, in quotes as in RFC 4180 where it needs them: around commas, quotes, line ends, a '#' that would
/// look like a comment, and spaces, which readers strip at its ends.
inline std::string csv_cell(std::string_view text) {
  if (text.find_first_of("\",#\r\n \t") == text.npos) return std::string(text);
  std::string cell = "\"";
  for (const char c : text) cell.append(c == '"' ? 2 : 1, c);
  return cell + '"';
}

}  // namespace ringside
