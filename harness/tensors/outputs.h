// The four tensors that every verdict is about.
#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "harness/base/enum_array.h"
#include "reference/problem.h"

namespace ringside {

enum class Out : std::size_t { o, dq, dk, dv, end };
inline constexpr std::array<Out, 4> kOuts = {Out::o, Out::dq, Out::dk, Out::dv};
inline constexpr std::array<std::string_view, 4> kOutNames = {"o", "dq", "dk", "dv"};

/// One value for each of the four tensors, indexed by Out.
template <typename T>
using PerOut = EnumArray<Out, T>;

inline std::string_view to_string(Out out) { return kOutNames[static_cast<std::size_t>(out)]; }

/// o and dq have one matrix a query head, dk and dv one a kv head.
inline bool per_kv_head(Out out) { return out == Out::dk || out == Out::dv; }

/// Shape of one of a problem's outputs.
inline Shape shape_of(const Problem& problem, Out out) {
  return PerOut<Shape>{{problem.o_shape(), problem.q_shape(), problem.k_shape(), problem.v_shape()}}[out];
}

/// Dense host tensors in a problem's shapes. Values of a narrower dtype are held exactly.
using HostOutputs = PerOut<std::vector<float>>;

}  // namespace ringside
