// The four tensors that every verdict is about.
#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "reference/problem.h"

namespace ringside {

enum class Out : std::size_t { o, dq, dk, dv };
inline constexpr std::array<Out, 4> kOuts = {Out::o, Out::dq, Out::dk, Out::dv};
inline constexpr std::array<std::string_view, 4> kOutNames = {"o", "dq", "dk", "dv"};

/// One value for each of the four tensors, indexed by Out.
template <typename T>
struct PerOut {
  std::array<T, 4> of{};
  T& operator[](Out out) { return of[static_cast<std::size_t>(out)]; }
  const T& operator[](Out out) const { return of[static_cast<std::size_t>(out)]; }
};

inline std::string_view to_string(Out out) { return kOutNames[static_cast<std::size_t>(out)]; }

/// o and dq have one matrix a query head, dk and dv one a kv head.
inline bool per_kv_head(Out out) { return out == Out::dk || out == Out::dv; }

/// Shape of one of a problem's outputs.
inline Shape shape_of(const Problem& problem, Out out) {
  switch (out) {
    case Out::o:
      return problem.o_shape();
    case Out::dq:
      return problem.q_shape();
    case Out::dk:
      return problem.k_shape();
    case Out::dv:
      return problem.v_shape();
  }
  return {};
}

/// Dense host tensors in a problem's shapes. Values of a narrower dtype are held exactly.
using HostOutputs = PerOut<std::vector<float>>;

}  // namespace ringside
