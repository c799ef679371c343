// The one writer of CSV cells.
#pragma once

#include <string>
#include <string_view>

namespace ringside {

/// A cell, in quotes as in RFC 4180 where it needs them: around commas, quotes, line ends, a '#' that would
/// look like a comment, and blanks at its ends, which readers strip.
inline std::string csv_cell(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t'; };
  const bool padded = !text.empty() && (blank(text.front()) || blank(text.back()));
  if (!padded && text.find_first_of("\",#\r\n") == text.npos) return std::string(text);
  std::string cell = "\"";
  for (const char c : text) cell.append(c == '"' ? 2 : 1, c);
  return cell + '"';
}

}  // namespace ringside
