// The host half of Device::matmul() on GPUs: which parts of which tensors a library's batched products get.
#pragma once

#include <algorithm>
#include <optional>
#include <utility>

#include "kernels/checks.h"
#include "kernels/device.h"
#include "kernels/gpu/elementwise_kernels.h"

namespace ringside {

/// `batch` row-major products c = beta·c + op(a)·op(b) of m x n, `k` deep; c is not read if beta is 0.
/// Matrices of one factor are `stride` elements apart (0: all the same one), their rows `pitch`.
struct Products {
  struct Factor {
    const std::byte* data = nullptr;
    Transpose transposed = Transpose::no;
    Index pitch = 0, stride = 0;
  };
  Index m = 0, n = 0, k = 0, batch = 0;
  Factor a, b;
  DType dtype = DType::fp32;  ///< of both factors
  float beta = 0;
  float* c = nullptr;
  Index c_pitch = 0, c_stride = 0;
};

/// The part of a product's factor that takes part, in the type that products take.
template <typename Launcher>
class ProductOperand {
 public:
  /// rows x cols are the part of op(x). `lower`: what is above x's diagonal counts as zero.
  ProductOperand(Launcher& launcher, const Tensor& x, Transpose transposed, TokenSpan rows, TokenSpan cols,
                 DType wanted, bool lower)
      : transposed_(transposed), stride_(x.shape().head_size()), pitch_(x.shape().dim), wanted_(wanted) {
    if (transposed == Transpose::yes) std::swap(rows, cols);
    data_ = x.data() + static_cast<std::size_t>(rows.first * pitch_ + cols.first) * size_of(x.dtype());
    if (x.dtype() == wanted && !lower) return;
    with_type(x.dtype(), [&]<typename From>(From) {
      if (wanted == DType::bf16) {
        pack<From, BFloat16>(launcher, x, rows.end - rows.first, cols.end - cols.first, lower);
      } else {
        pack<From, float>(launcher, x, rows.end - rows.first, cols.end - cols.first, lower);
      }
    });
  }

  /// From row `row` and column `col` of op(x) on, in matrix `matrix`; the next is `step` matrices on.
  Products::Factor from(Index matrix, Index row, Index col, Index step) const {
    if (transposed_ == Transpose::yes) std::swap(row, col);
    return {data_ + static_cast<std::size_t>(matrix * stride_ + row * pitch_ + col) * size_of(wanted_),
            transposed_, pitch_, step * stride_};
  }

 private:
  template <typename From, typename To>
  void pack(Launcher& launcher, const Tensor& x, Index rows, Index cols, bool lower) {
    const Index count = x.shape().batch * x.shape().heads * rows * cols;
    packed_.emplace(launcher.template scratch<unsigned char>(count * static_cast<Index>(sizeof(To))));
    launch_each(launcher, count,
                PackMatrices<From, To>{reinterpret_cast<const From*>(data_), stride_, pitch_,
                                       reinterpret_cast<To*>(packed_->data()), rows, cols, lower});
    data_ = reinterpret_cast<const std::byte*>(packed_->data());
    stride_ = rows * cols;
    pitch_ = cols;
  }

  Transpose transposed_;
  Index stride_, pitch_;
  DType wanted_;
  const std::byte* data_ = nullptr;
  std::optional<typename Launcher::template Array<unsigned char>> packed_;
};

/// As Device::matmul(); multiply(Products) is the library's. Math bf16 takes bf16 operands, the others fp32.
template <typename Launcher, typename Multiply>
void gpu_matmul(Launcher& launcher, const Multiply& multiply, Math math, const Tensor& a, Transpose ta,
                const Tensor& b, Transpose tb, const Tensor& c, bool accumulate, Causal causal,
                TokenSpan tokens) {
  const auto [rows, depth, cols] = require_product(a, ta, b, tb, c, causal, tokens);
  const Shape& s = c.shape();
  const Index heads = a.shape().heads;
  const Index m = rows.end - rows.first, k = depth.end - depth.first, n = cols.end - cols.first;
  if (s.batch * heads * m * n == 0) return;
  float* const target = c.view<float>().data + rows.first * s.dim + cols.first;
  if (k == 0) {
    if (!accumulate)
      launch_each(launcher, s.batch * s.heads * m * n, ClearMatrices{target, s.head_size(), s.dim, m, n});
    return;
  }

  // Products of this depth are summed before they are added to the rest: a sum is kDepth + k/kDepth roundings
  // deep.
  constexpr Index kDepth = 1024;
  const DType dtype = math == Math::bf16 ? DType::bf16 : DType::fp32;
  const ProductOperand<Launcher> left(launcher, a, ta, rows, depth, dtype, causal == Causal::a);
  const ProductOperand<Launcher> right(launcher, b, tb, depth, cols, dtype, false);
  // Of those tensors that have all heads, each group's i-th at once, for all batch entries; where a group
  // shares c, one after the other.
  const Index group = heads / std::min(b.shape().heads, s.heads);
  const bool shared_b = b.shape().heads < heads, shared_c = s.heads < heads;
  for (Index i = 0; i < group; ++i) {
    for (Index d = 0; d < k; d += kDepth) {
      multiply(Products{.m = m,
                        .n = n,
                        .k = std::min(kDepth, k - d),
                        .batch = s.batch * heads / group,
                        .a = left.from(i, 0, d, group),
                        .b = shared_b ? right.from(0, d, 0, 1) : right.from(i, d, 0, group),
                        .dtype = dtype,
                        .beta = accumulate || d > 0 || (shared_c && i > 0) ? 1.0f : 0.0f,
                        .c = target + (shared_c ? 0 : i * s.head_size()),
                        .c_pitch = s.dim,
                        .c_stride = (shared_c ? 1 : group) * s.head_size()});
    }
  }
}

}  // namespace ringside
