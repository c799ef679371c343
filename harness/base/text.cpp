#include "harness/base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "harness/base/hash.h"
#include "reference/error.h"

namespace ringside {
namespace {

constexpr std::size_t kShown = 40;  // bytes of a value in a message

struct Character {
  char32_t code;
  std::size_t bytes;
};

/// The UTF-8 character that `text` begins with, if it is one (RFC 3629: shortest form, no surrogates).
std::optional<Character> character(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(text[i])); };
  const char32_t lead = byte(0);
  const std::size_t bytes = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (bytes == 0 || lead > 0xf4 || text.size() < bytes) return std::nullopt;
  if (bytes == 1) return Character{lead, 1};
  char32_t code = lead & (0x7fU >> bytes);
  for (std::size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xc0U) != 0x80) return std::nullopt;
    code = code << 6U | (byte(i) & 0x3fU);
  }
  const bool overlong = (bytes == 3 && code < 0x800) || (bytes == 4 && code < 0x10000);
  if (overlong || (code >= 0xd800 && code < 0xe000) || code > 0x10ffff) return std::nullopt;
  return Character{code, bytes};
}

/// Control characters; soft hyphen, zero width, line and paragraph separators, directions, tags; no
/// characters at all.
bool hidden(char32_t code) {
  constexpr std::array<std::pair<char32_t, char32_t>, 11> kRanges = {{{0x00, 0x1f},
                                                                      {0x7f, 0x9f},
                                                                      {0xad, 0xad},
                                                                      {0x61c, 0x61c},
                                                                      {0x180e, 0x180e},
                                                                      {0x200b, 0x200f},
                                                                      {0x2028, 0x202e},
                                                                      {0x2060, 0x206f},
                                                                      {0xfeff, 0xfeff},
                                                                      {0xfffe, 0xffff},
                                                                      {0xe0000, 0xe0fff}}};
  return std::ranges::any_of(kRanges,
                             [&](const auto& range) { return code >= range.first && code <= range.second; });
}

std::string escaped(char32_t code) {
  if (code == '\n') return "\\n";
  if (code == '\r') return "\\r";
  if (code == '\t') return "\\t";
  return code < 0x100 ? fmt::format("\\x{:02x}", static_cast<std::uint32_t>(code))
                      : fmt::format("\\u{{{:x}}}", static_cast<std::uint32_t>(code));
}

/// Levenshtein distance: insertions, deletions and replacements that turn a into b.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, diagonal + 1, row[j] + 1});
    }
  }
  return row.back();
}

}  // namespace

std::string plain_text(std::string_view text) {
  std::string plain;
  while (!text.empty()) {
    const auto next = character(text);
    const std::size_t bytes = next ? next->bytes : 1;
    if (next && !hidden(next->code)) {
      plain += text.substr(0, bytes);
    } else {
      plain += escaped(next ? next->code : static_cast<unsigned char>(text[0]));
    }
    text.remove_prefix(bytes);
  }
  return plain;
}

std::string plain_text(std::string_view text, std::size_t most) {
  if (text.size() <= most) return plain_text(text);
  while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xc0) == 0x80) --most;
  return plain_text(text.substr(0, most)) + "…";
}

std::string in_quotes(std::string_view text) { return "'" + plain_text(text, kShown) + "'"; }

std::string shell_word(const std::string& text) {
  const auto plain = [](char ch) {
    return std::isalnum(static_cast<unsigned char>(ch)) || std::strchr("-_./=,+", ch);
  };
  if (!text.empty() && std::ranges::all_of(text, plain)) return text;
  std::string out = "'";
  for (const char ch : text) out += ch == '\'' ? "'\\''" : std::string(1, ch);
  return out + "'";
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const auto next = character(text);
    if (!next) return false;
    text.remove_prefix(next->bytes);
  }
  return true;
}

std::string unknown(std::string_view what, std::string_view text, std::span<const std::string_view> allowed) {
  std::string message = fmt::format("unknown {} {}; it is one of", what, in_quotes(text));
  for (const std::string_view& name : allowed) {
    message += fmt::format("{} {}", &name == allowed.data() ? "" : ",", name);
  }
  if (text.size() > kShown) return message;
  const auto distance = [&](std::string_view name) { return edit_distance(text, name); };
  const auto nearest = std::ranges::min_element(allowed, {}, distance);
  if (distance(*nearest) <= 2) message += fmt::format(" (did you mean {}?)", *nearest);
  return message;
}

void refuse_file(std::string_view file_name, std::string_view message) {
  throw UsageError(fmt::format("{}{}{}", file_name, file_name.empty() ? "" : ": ", message));
}

std::string digest_of(std::string_view text) {
  std::uint64_t hash = kFnvStart;
  for (const char c : text) hash = fnv_step(hash, static_cast<unsigned char>(c));
  return fmt::format("{:012x}", (hash ^ (hash >> 48)) & 0xffffffffffff);
}

std::string human_bytes(double bytes) {
  const char* const units[] = {"B", "kB", "MB", "GB", "TB"};
  std::size_t unit = 0;
  for (; bytes >= 1000 && unit < 4; ++unit) bytes /= 1000;
  return unit == 0 ? fmt::format("{:.0f} B", bytes) : fmt::format("{:.3g} {}", bytes, units[unit]);
}

std::string human_seconds(double seconds) {
  if (seconds >= 99.5) {
    const auto whole = static_cast<std::int64_t>(std::llround(std::min(seconds, 1e15)));
    return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  }
  if (seconds >= 1) return fmt::format("{:.2f} s", seconds);
  return seconds >= 1e-3 ? fmt::format("{:.3g} ms", seconds * 1e3) : fmt::format("{:.3g} us", seconds * 1e6);
}

}  // namespace ringside
