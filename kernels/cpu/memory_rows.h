// Rows of tensors in memory, converted to and from fp32.
#pragma once

#include <algorithm>
#include <type_traits>

#include "kernels/cpu/product.h"
#include "kernels/tensor.h"

namespace ringside {

/// Calls f with a pointer of the dtype's storage type.
template <typename F>
void with_storage(std::byte* data, DType dtype, F&& f) {
  with_type(dtype, [&]<typename T>(T) { f(reinterpret_cast<T*>(data)); });
}

/// out[i] = in[i], rounded once if it must be. The arrays do not overlap.
template <typename From, typename To>
void convert(const From* __restrict in, To* __restrict out, Index count) {
  if constexpr (std::is_same_v<From, To>) {
    std::copy_n(in, count, out);
  } else {
    for (Index i = 0; i < count; ++i) out[i] = from_float<To>(to_float(in[i]));
  }
}

/// The matrix [tokens, dim] of one batch entry and head, as it lies in memory.
struct HeadMemory {
  std::byte* data = nullptr;
  DType dtype = DType::fp32;
  Index tokens = 0;
  Index dim = 0;

  std::byte* row(Index i) const { return data + static_cast<std::size_t>(i * dim) * size_of(dtype); }
  /// Only if dtype is fp32.
  float* floats(Index i = 0) const { return reinterpret_cast<float*>(row(i)); }
};

inline HeadMemory head_memory(const Tensor& x, Index b, Index h) {
  const Shape& s = x.shape();
  const Index offset = (b * s.heads + h) * s.head_size();
  return {x.data() + static_cast<std::size_t>(offset) * size_of(x.dtype()), x.dtype(), s.tokens, s.dim};
}

/// out: [count, dim] fp32 <- rows first.. of the head.
inline void read_rows(const HeadMemory& head, Index first, Index count, float* out) {
  with_storage(head.row(first), head.dtype, [&](const auto* in) { convert(in, out, count * head.dim); });
}

/// Rows first.. of the head <- in: [count, dim] fp32, each element rounded once.
inline void write_rows(const float* in, const HeadMemory& head, Index first, Index count) {
  with_storage(head.row(first), head.dtype, [&](auto* out) { convert(in, out, count * head.dim); });
}

/// x[i] <- what `math` makes of an operand of a matrix product.
inline void round_operand(Math math, float* x, Index count) {
  switch (math) {
    case Math::fp32:
      return;
    case Math::tf32:
      for (Index i = 0; i < count; ++i) x[i] = truncated_to_tf32(x[i]);
      return;
    case Math::bf16:
      for (Index i = 0; i < count; ++i) x[i] = to_float(to_bf16(x[i]));
      return;
  }
}

/// out: [cols, rows] <- inᵀ.
void transpose(const ConstMatrix& in, float* out, Index out_stride);

}  // namespace ringside
