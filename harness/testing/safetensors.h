// The bytes of .safetensors files, made by hand.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "harness/testing/npy.h"

namespace ringside {

/// A header with its length before it. Values follow.
inline std::string safetensors(std::string_view header) {
  return little_endian(header.size(), 8) + std::string(header);
}

/// A member of the header. `shape`: "[2,3]".
inline std::string tensor(std::string_view name, std::string_view dtype, std::string_view shape,
                          std::uint64_t begin, std::uint64_t end) {
  return fmt::format(R"("{}":{{"dtype":"{}","shape":{},"data_offsets":[{},{}]}})", name, dtype, shape, begin,
                     end);
}

}  // namespace ringside
