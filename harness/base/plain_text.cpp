#include "harness/base/plain_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

namespace ringside {
namespace {

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

}  // namespace ringside
