// Arithmetic on stretches of time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace ringside {

/// From begin to end, in nanoseconds; begin <= end.
struct TimeInterval {
  std::int64_t begin = 0, end = 0;
  friend bool operator==(const TimeInterval&, const TimeInterval&) = default;
};

/// As united() gives them where a function asks for sets; any order, overlapping, elsewhere.
using Intervals = std::vector<TimeInterval>;

/// The same points as a set: none empty, ascending, a gap between any two.
inline Intervals united(Intervals all) {
  std::ranges::sort(all, {}, &TimeInterval::begin);
  Intervals set;
  for (const TimeInterval& x : all) {
    if (x.begin == x.end) continue;
    if (set.empty() || x.begin > set.back().end) {
      set.push_back(x);
    } else {
      set.back().end = std::max(set.back().end, x.end);
    }
  }
  return set;
}

/// The points of set `a` that are not in set `b`, as a set.
inline Intervals minus(const Intervals& a, const Intervals& b) {
  Intervals rest;
  auto hole = b.begin();
  for (TimeInterval x : a) {
    while (hole != b.end() && hole->end <= x.begin) ++hole;
    for (auto h = hole; h != b.end() && h->begin < x.end; ++h) {
      if (h->begin > x.begin) rest.push_back({x.begin, h->begin});
      x.begin = std::min(h->end, x.end);
    }
    if (x.begin < x.end) rest.push_back(x);
  }
  return rest;
}

/// Nanoseconds in a set.
inline std::int64_t length(const Intervals& set) {
  std::int64_t sum = 0;
  for (const TimeInterval& x : set) sum += x.end - x.begin;
  return sum;
}

}  // namespace ringside
