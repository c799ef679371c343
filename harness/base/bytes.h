// Plain data as bytes, for messages between processes.
#pragma once

#include <cstring>
#include <span>
#include <stdexcept>
#include <type_traits>
#include <vector>

namespace ringside {

template <typename T>
void append_bytes(std::vector<std::byte>& to, std::span<const T> values) {
  static_assert(std::is_trivially_copyable_v<T>);
  const auto bytes = std::as_bytes(values);
  to.insert(to.end(), bytes.begin(), bytes.end());
}

template <typename T>
void append_bytes(std::vector<std::byte>& to, const T& value) {
  append_bytes(to, std::span<const T>(&value, 1));
}

/// Takes `count` values off the front of `from`. Throws std::out_of_range if it is too short.
template <typename T>
std::vector<T> take_bytes(std::span<const std::byte>& from, std::size_t count) {
  static_assert(std::is_trivially_copyable_v<T>);
  if (from.size() < count * sizeof(T))
    throw std::out_of_range("a process sent fewer bytes than it should have");
  std::vector<T> values(count);
  if (count > 0) std::memcpy(values.data(), from.data(), count * sizeof(T));
  from = from.subspan(count * sizeof(T));
  return values;
}

}  // namespace ringside
