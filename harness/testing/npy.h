// The bytes of .npy files, made by hand.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace ringside {

inline std::string little_endian(std::uint64_t value, std::size_t bytes) {
  std::string text;
  for (std::size_t i = 0; i < bytes; ++i) text.push_back(static_cast<char>(value >> 8 * i & 0xff));
  return text;
}

/// The start of a .npy file: magic, version, length, dictionary.
inline std::string preamble(std::string_view dictionary, char major = 1) {
  return "\x93NUMPY" + std::string{major, '\0'} + little_endian(dictionary.size(), major == 1 ? 2 : 4) +
         std::string(dictionary);
}

/// Both as they are spelt in Python.
inline std::string dictionary(std::string_view descr, std::string_view shape) {
  return fmt::format("{{'descr': {}, 'fortran_order': False, 'shape': {}, }}\n", descr, shape);
}

}  // namespace ringside
