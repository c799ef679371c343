// Eight floats at once, in the compiler's vector extension: any CPU that GCC or Clang knows.
#pragma once

namespace ringside {

using Vector [[gnu::vector_size(32)]] = float;

/// Unaligned. A cast, as GCC copies through the stack in halves when this is written as memcpy.
inline Vector load(const float* from) {
  using Unaligned [[gnu::vector_size(32), gnu::aligned(4), gnu::may_alias]] = float;
  return *reinterpret_cast<const Unaligned*>(from);
}

inline void store(const Vector& x, float* to) {
  using Unaligned [[gnu::vector_size(32), gnu::aligned(4), gnu::may_alias]] = float;
  *reinterpret_cast<Unaligned*>(to) = x;
}

}  // namespace ringside
