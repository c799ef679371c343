// In which order a file has the axes of a tensor.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "reference/view.h"

namespace ringside {

/// b batch, h head, n, s or t token, d dim. thd has no batch axis: one sequence, into which documents may be
/// packed.
enum class Axes { bhnd, bnhd, sbhd, thd };

inline constexpr std::array kAxes = {Axes::bhnd, Axes::bnhd, Axes::sbhd, Axes::thd};

constexpr std::string_view to_string(Axes axes) {
  constexpr std::array<std::string_view, kAxes.size()> kNames = {"bhnd", "bnhd", "sbhd", "thd"};
  return kNames[static_cast<std::size_t>(axes)];
}

constexpr std::optional<Axes> parse_axes(std::string_view text) {
  for (const Axes axes : kAxes) {
    if (text == to_string(axes)) return axes;
  }
  return std::nullopt;
}

/// A tensor's sizes as batch, heads, tokens, dim.
using Bhnd = std::array<Index, 4>;

inline constexpr std::array<std::string_view, 4> kAxisWords = {"batch", "head", "token", "dim"};

/// Which of batch, head, token, dim (0 to 3) a letter stands for.
constexpr std::size_t axis_of(char letter) {
  return letter == 'b' ? 0 : letter == 'h' ? 1 : letter == 'd' ? 3 : 2;
}

/// `shape`: as many sizes as there are axes.
constexpr Bhnd to_bhnd(Axes axes, std::span<const Index> shape) {
  Bhnd sizes = {1, 1, 1, 1};
  for (std::size_t i = 0; i < shape.size(); ++i) sizes[axis_of(to_string(axes)[i])] = shape[i];
  return sizes;
}

/// The shape that a file has.
inline std::vector<Index> from_bhnd(Axes axes, const Bhnd& sizes) {
  std::vector<Index> shape;
  for (const char letter : to_string(axes)) shape.push_back(sizes[axis_of(letter)]);
  return shape;
}

}  // namespace ringside
