// GPU kernels that are one pass over memory: fills, copies, sums.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "kernels/gpu/launch.h"
#include "reference/storage.h"

namespace ringside {

template <typename T>
struct Fill {
  T* to;
  T value;

  RINGSIDE_DEVICE void operator()(Index i) const { to[i] = value; }
};

template <typename From, typename To>
struct Convert {
  const From* from;
  To* to;

  RINGSIDE_DEVICE void operator()(Index i) const {
    if constexpr (std::is_same_v<From, To>) {
      to[i] = from[i];  // the bits, of a NaN too
    } else {
      to[i] = from_float<To>(to_float(from[i]));
    }
  }
};

struct Add {
  const float* from;
  float* to;

  RINGSIDE_DEVICE void operator()(Index i) const { to[i] += from[i]; }
};

/// A stretch of memory that repeats itself: stretch (b, h) begins at (b·heads + h)·stride.
struct Stretches {
  std::byte* data = nullptr;
  Index heads = 0;   ///< in a batch entry
  Index stride = 0;  ///< words
};

/// Words of `length`-long stretches, `heads` to a batch entry.
template <typename Word>
struct CopyStretches {
  Stretches from, to;
  Index heads, length;

  RINGSIDE_DEVICE void operator()(Index i) const {
    const Index stretch = i / length, at = i % length;
    const Index b = stretch / heads, h = stretch % heads;
    reinterpret_cast<Word*>(to.data)[(b * to.heads + h) * to.stride + at] =
        reinterpret_cast<const Word*>(from.data)[(b * from.heads + h) * from.stride + at];
  }
};

/// The largest that a thread copies at once.
struct alignas(16) Word16 {
  std::uint64_t halves[2];
};

template <typename From, typename To>
struct SumHeads {
  const From* from;
  To* to;
  Index group, head_size;

  RINGSIDE_DEVICE void operator()(Index i) const {
    const From* first = from + i / head_size * group * head_size + i % head_size;
    float sum = to_float(*first);
    for (Index g = 1; g < group; ++g) sum += to_float(first[g * head_size]);
    to[i] = from_float<To>(sum);
  }
};

/// to <- from, matrices of [rows, cols], densely, converted; if `lower`, 0 above the diagonal, whatever is
/// there.
template <typename From, typename To>
struct PackMatrices {
  const From* from;
  Index stride, pitch;  ///< of `from`
  To* to;
  Index rows, cols;
  bool lower;

  RINGSIDE_DEVICE void operator()(Index i) const {
    const Index matrix = i / (rows * cols), row = i / cols % rows, col = i % cols;
    float x = 0;
    if (!lower || col <= row) x = to_float(from[matrix * stride + row * pitch + col]);
    to[i] = from_float<To>(x);
  }
};

/// x <- 0, matrices of [rows, cols].
struct ClearMatrices {
  float* x;
  Index stride, pitch;
  Index rows, cols;

  RINGSIDE_DEVICE void operator()(Index i) const {
    x[i / (rows * cols) * stride + i / cols % rows * pitch + i % cols] = 0;
  }
};

}  // namespace ringside
