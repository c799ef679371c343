// Text for people: what others wrote made harmless, choices, bytes, seconds.
#pragma once

#include <charconv>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

namespace ringside {

/// `text` without what a terminal obeys, XML cannot hold, or a reader cannot see: line ends and tabs as "\n",
/// "\r", "\t", other control characters and bytes that are no UTF-8 as "\x1b", characters that are invisible
/// or turn the direction of writing as "\u{202e}". Anything else stays, backslashes too.
std::string plain_text(std::string_view text);

/// plain_text(), cut behind `most` bytes of `text` at the end of a character, and then with "…".
std::string plain_text(std::string_view text, std::size_t most);

/// The text in quotes: plain_text() of its first 40 bytes.
std::string in_quotes(std::string_view text);

/// A word of the shell, whatever it holds.
std::string shell_word(const std::string& text);

/// Whether `text` is whole characters of UTF-8 in their shortest form.
bool is_utf8(std::string_view text);

/// The number that `text` is, all of it; none if it is no T.
template <typename T>
std::optional<T> number_in(std::string_view text) {
  T value{};
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  return error == std::errc{} && stop == end ? std::optional(value) : std::nullopt;
}

/// "unknown dtype 'bf61'; it is one of fp32, bf16, fp16 (did you mean bf16?)". `allowed` must not be empty.
std::string unknown(std::string_view what, std::string_view text, std::span<const std::string_view> allowed);

/// Throws UsageError "file: message"; the message alone if there is no name.
[[noreturn]] void refuse_file(std::string_view file_name, std::string_view message);

/// Twelve hexadecimal digits of the text's hash.
std::string digest_of(std::string_view text);

/// "1.5 GB", "2 min 05 s".
std::string human_bytes(double bytes);
std::string human_seconds(double seconds);

}  // namespace ringside
