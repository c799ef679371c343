// Indexes arrays by an enum, and adds them up.
#pragma once

#include <array>
#include <cstddef>

namespace ringside {

/// One value for each name of an enum that counts from 0 and whose last name is `end`. Plain data.
template <typename Enum, typename T>
struct EnumArray {
  std::array<T, static_cast<std::size_t>(Enum::end)> of{};

  constexpr T& operator[](Enum i) { return of[static_cast<std::size_t>(i)]; }
  constexpr const T& operator[](Enum i) const { return of[static_cast<std::size_t>(i)]; }

  EnumArray& operator+=(const EnumArray& other) {
    for (std::size_t i = 0; i < of.size(); ++i) of[i] += other.of[i];
    return *this;
  }
};

}  // namespace ringside
