// 64-bit FNV-1a (Fowler, Noll, Vo), of which digests and fingerprints are made.
#pragma once

#include <cstdint>

namespace ringside {

inline constexpr std::uint64_t kFnvStart = 0xcbf29ce484222325;

/// The hash with one more byte, or with a whole word in place of eight steps.
constexpr std::uint64_t fnv_step(std::uint64_t hash, std::uint64_t word) {
  return (hash ^ word) * 0x100000001b3;
}

}  // namespace ringside
