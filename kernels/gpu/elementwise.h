// Host half of elementwise_kernels.h.
#pragma once

#include <cstdint>

#include "kernels/checks.h"
#include "kernels/device.h"
#include "kernels/gpu/elementwise_kernels.h"

namespace ringside {

template <typename Launcher>
void gpu_fill(Launcher& launcher, const Tensor& x, float value) {
  with_type(x.dtype(), [&]<typename T>(T) {
    launch_each(launcher, x.shape().size(), Fill<T>{x.view<T>().data, from_float<T>(value)});
  });
}

template <typename Launcher>
void gpu_copy(Launcher& launcher, const Tensor& from, const Tensor& to) {
  require_shape("copy", "to", to, from.shape());
  with_type(from.dtype(), [&]<typename From>(From) {
    with_type(to.dtype(), [&]<typename To>(To) {
      launch_each(launcher, from.shape().size(),
                  Convert<From, To>{from.view<From>().data, to.view<To>().data});
    });
  });
}

template <typename Launcher>
void gpu_add(Launcher& launcher, const Tensor& from, const Tensor& to) {
  require_add(from, to);
  launch_each(launcher, to.shape().size(), Add{from.view<float>().data, to.view<float>().data});
}

template <typename Launcher>
void gpu_copy_part(Launcher& launcher, const Tensor& from, Corner from_at, const Tensor& to, Corner to_at,
                   Index heads, Index tokens) {
  require_parts(from, from_at, to, to_at, heads, tokens);
  const Shape &fs = from.shape(), &ts = to.shape();
  const Index row = fs.dim * static_cast<Index>(size_of(from.dtype()));  // bytes
  const auto corner = [row](const Tensor& x, Corner at) {
    return x.data() + (at.head * x.shape().tokens + at.token) * row;
  };
  std::byte *const source = corner(from, from_at), *const target = corner(to, to_at);
  const auto copy = [&]<typename Word>(Word) {
    constexpr Index size = sizeof(Word);
    launch_each(launcher, fs.batch * heads * tokens * row / size,
                CopyStretches<Word>{{source, fs.heads, fs.tokens * row / size},
                                    {target, ts.heads, ts.tokens * row / size},
                                    heads,
                                    tokens * row / size});
  };
  // Rows that are whole words begin at whole words, wherever they begin: allocations are aligned beyond them.
  if (row % 16 == 0) {
    copy(Word16{});
  } else if (row % 4 == 0) {
    copy(std::uint32_t{});
  } else {
    copy(std::uint16_t{});
  }
}

template <typename Launcher>
void gpu_sum_heads(Launcher& launcher, const Tensor& from, const Tensor& to) {
  require_head_sums(from, to);
  with_type(to.dtype(), [&]<typename T>(T) {
    launch_each(launcher, to.shape().size(),
                SumHeads<T, T>{from.view<T>().data, to.view<T>().data, from.shape().heads / to.shape().heads,
                               to.shape().head_size()});
  });
}

}  // namespace ringside
