// Adds up the bound of an element from its reference.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "reference/truth.h"

namespace ringside {

/// Unit roundoffs that scale a bound's parts, and the magnitudes from which on storage, and the type of
/// partial results, round to infinity.
struct Rounding {
  double accumulator = 0;
  double storage = 0;
  double overflow = std::numeric_limits<double>::infinity();
  double partials = 0;
  double partials_overflow = std::numeric_limits<double>::infinity();
};

/// Elements of an Expected, as one implementation must give them. Refers to it.
struct ExpectedView {
  std::span<const double> value;
  std::span<const float> error;
  std::span<const double> storage{};
  std::span<const double> shares{};  ///< empty where the implementation rounds none
  std::span<const double> partials{};
  double floor = 0, smallest = 0;

  double stored(std::size_t i) const {
    return storage.empty() ? std::max(std::abs(value[i]), smallest) : storage[i];
  }
};

/// `count` elements from `first` on; of a tensor that is left out none.
template <typename T>
std::span<const T> part_of(const std::vector<T>& all, std::size_t first, std::size_t count) {
  return all.empty() ? std::span(all) : std::span(all).subspan(first, count);
}

/// Those elements of x; all by default.
inline ExpectedView view_of(const Expected& x, bool rounds_shares, std::size_t first = 0,
                            std::size_t count = std::dynamic_extent) {
  const auto part = [&](const auto& all) { return part_of(all, first, count); };
  return {.value = part(x.value),
          .error = part(x.error),
          .storage = part(x.storage),
          .shares = rounds_shares ? part(x.shares) : std::span<const double>(),
          .partials = part(x.partials),
          .floor = x.floor,
          .smallest = x.smallest};
}

/// What a right element may err by, in parts.
struct Bound {
  double accumulated = 0;  ///< sums in fp32
  double shares = 0;       ///< rounding of shares, which is part of:
  double stored = 0;       ///< rounding to storage, and of partial results
  double floor = 0;        ///< underflow

  double sum() const { return accumulated + stored + floor; }
};

/// The bound of element `i`.
inline Bound bound_at(const ExpectedView& x, std::size_t i, const Rounding& u) {
  Bound bound;
  bound.floor = x.floor;
  bound.accumulated = u.accumulator * double{x.error[i]};
  if (!x.shares.empty()) bound.shares = u.storage * x.shares[i];
  bound.stored = bound.shares + u.storage * x.stored(i);
  if (!x.partials.empty()) bound.stored += u.partials * x.partials[i];
  return bound;
}

/// Whether one of the shares or partial results that make element `i` may be rounded to infinity. Two of them
/// may be NaN together: anything is right then.
inline bool parts_may_overflow(const ExpectedView& x, std::size_t i, const Bound& bound, const Rounding& u) {
  return (!x.shares.empty() && x.shares[i] * (1 + u.storage) + bound.accumulated >= u.overflow) ||
         (!x.partials.empty() && x.partials[i] * (1 + u.partials) + bound.accumulated >= u.partials_overflow);
}

}  // namespace ringside
