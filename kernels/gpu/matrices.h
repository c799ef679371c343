// Tensors as kernels of attention read them: the host half of operand.h.
#pragma once

#include <optional>
#include <span>
#include <type_traits>
#include <utility>

#include "kernels/gpu/launch.h"
#include "kernels/gpu/operand.h"
#include "kernels/tensor.h"

namespace ringside {

inline HeadMatrices head_matrices(const Tensor& x) {
  const Shape& s = x.shape();
  return {x.data(), x.dtype(), s.heads, s.tokens, static_cast<int>(s.dim), static_cast<int>(s.dim)};
}

/// A tensor from which operands with elements of type T can be copied 16 bytes at a time: its own memory, or
/// a copy that is converted and padded, for as long as this lives.
template <typename T, typename Launcher>
class OperandMatrices {
 public:
  OperandMatrices(Launcher& launcher, const Tensor& x) : matrices_(head_matrices(x)) {
    constexpr int kPiece = 16 / static_cast<int>(sizeof(T));
    constexpr DType kType = std::is_same_v<T, BFloat16> ? DType::bf16 : DType::fp32;
    if (x.dtype() == kType && matrices_.dim % kPiece == 0) return;
    const int stride = (matrices_.dim + kPiece - 1) / kPiece * kPiece;
    const Index rows = x.shape().rows();
    copy_.emplace(launcher.template scratch<T>(rows * stride));
    launch_each(launcher, rows * stride, ConvertRows<T>{matrices_.head(0, 0), copy_->data(), stride});
    matrices_.data = reinterpret_cast<std::byte*>(copy_->data());
    matrices_.dtype = kType;
    matrices_.stride = stride;
  }

  const HeadMatrices& matrices() const { return matrices_; }

 private:
  using Array = decltype(std::declval<Launcher&>().template scratch<T>(0));

  HeadMatrices matrices_;
  std::optional<Array> copy_;
};

}  // namespace ringside
