// Matrix products by cuBLAS.
#include <algorithm>
#include <optional>

#include "kernels/checks.h"
#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/launcher.h"
#include "kernels/simt/operands.h"

namespace ringside {
namespace {

/// Products of this depth are summed before they are added to the rest: a sum is kDepth + depth/kDepth
/// roundings deep.
constexpr Index kDepth = 1024;

Index size(TokenSpan span) { return span.end - span.first; }

/// The part of a product's factor that takes part, as cuBLAS reads it.
class Operand {
 public:
  /// rows x cols are the part of op(x). `lower`: what is above x's diagonal counts as zero.
  Operand(CudaLauncher& on, const Tensor& x, Transpose transposed, TokenSpan rows, TokenSpan cols,
          DType wanted, bool lower)
      : transposed_(transposed), layout_{x.shape().head_size(), x.shape().dim} {
    if (transposed == Transpose::yes) std::swap(rows, cols);
    const Index first = rows.first * x.shape().dim + cols.first;
    data_ = x.data() + static_cast<std::size_t>(first) * size_of(x.dtype());
    element_ = size_of(wanted);
    if (x.dtype() == wanted && !lower) return;

    const Index matrices = x.shape().batch * x.shape().heads;
    const Index count = matrices * size(rows) * size(cols);
    packed_.emplace(on.scratch<unsigned char>(count * static_cast<Index>(element_)));
    with_type(x.dtype(), [&]<typename From>(From) {
      const auto pack = [&]<typename To>(To*) {
        launch_each(
            on, count,
            PackMatrices<From, To>{reinterpret_cast<const From*>(data_), layout_,
                                   reinterpret_cast<To*>(packed_->data()), size(rows), size(cols), lower});
      };
      if (wanted == DType::bf16) {
        pack(static_cast<BFloat16*>(nullptr));
      } else {
        pack(static_cast<float*>(nullptr));
      }
    });
    data_ = reinterpret_cast<const std::byte*>(packed_->data());
    layout_ = {size(rows) * size(cols), size(cols)};
  }

  /// Row-major matrices are the transposed of cuBLAS's column-major ones, and so is their product's order.
  cublasOperation_t operation() const { return transposed_ == Transpose::no ? CUBLAS_OP_N : CUBLAS_OP_T; }
  Index pitch() const { return std::max<Index>(1, layout_.pitch); }
  Index stride() const { return layout_.stride; }
  /// From row `row` and column `col` of op(x) on, in matrix `matrix`.
  const std::byte* at(Index matrix, Index row, Index col) const {
    if (transposed_ == Transpose::yes) std::swap(row, col);
    return data_ + static_cast<std::size_t>(matrix * layout_.stride + row * layout_.pitch + col) * element_;
  }

 private:
  Transpose transposed_;
  MatrixLayout layout_;
  const std::byte* data_ = nullptr;
  std::size_t element_ = 0;
  std::optional<CudaArray<unsigned char>> packed_;
};

/// fp32 is fp32 for any storage; tensor cores round their operands themselves in tf32, and take bf16.
struct Arithmetics {
  DType operands;
  cudaDataType_t type;
  cublasComputeType_t compute;
};
Arithmetics arithmetics(Math math) {
  switch (math) {
    case Math::tf32:
      return {DType::fp32, CUDA_R_32F, CUBLAS_COMPUTE_32F_FAST_TF32};
    case Math::bf16:
      return {DType::bf16, CUDA_R_16BF, CUBLAS_COMPUTE_32F};
    case Math::fp32:
      break;
  }
  return {DType::fp32, CUDA_R_32F, CUBLAS_COMPUTE_32F_PEDANTIC};
}

}  // namespace

void CudaDevice::matmul(const Tensor& a, Transpose ta, const Tensor& b, Transpose tb, const Tensor& c,
                        bool accumulate, Causal causal, TokenSpan tokens) {
  const auto [rows, depth, cols] = require_product(a, ta, b, tb, c, causal, tokens);
  const Shape &as = a.shape(), &bs = b.shape(), &cs = c.shape();
  const Index m = size(rows), k = size(depth), n = size(cols);
  if (as.batch * as.heads * m * n == 0) return;
  CudaLauncher on = launcher();
  float* const target = c.view<float>().data + rows.first * cs.dim + cols.first;
  if (k == 0) {
    if (!accumulate) {
      launch_each(on, cs.batch * cs.heads * m * n, ClearMatrices{target, {cs.head_size(), cs.dim}, m, n});
    }
    return;
  }

  if (!cublas_) cublas_ = std::make_unique<Cublas>(on.stream());
  const Arithmetics math = arithmetics(options_.math);
  const Operand left(on, a, ta, rows, depth, math.operands, causal == Causal::a);
  const Operand right(on, b, tb, depth, cols, math.operands, false);
  // Head x = kv·group + i of those that have them all, kv of the others: for each i all batch entries and kv
  // at once, one i after the other where they share c.
  const Index group = as.heads / std::min(bs.heads, cs.heads);
  const auto every = [group, &as](const Tensor& x) { return x.shape().heads == as.heads ? group : 1; };
  const Index a_step = every(a), b_step = every(b), c_step = every(c);
  const float one = 1;
  for (Index i = 0; i < group; ++i) {
    float* const result = target + (c_step == 1 ? 0 : i) * cs.head_size();
    const bool first_of_sum = c_step != 1 || i == 0;
    for (Index d = 0; d < k; d += kDepth) {
      const float beta = accumulate || d > 0 || !first_of_sum ? 1 : 0;
      cublas_check(cublas_functions().gemm(
                       cublas_->get(), right.operation(), left.operation(), n, m, std::min(kDepth, k - d),
                       &one, right.at(b_step == 1 ? 0 : i, d, 0), math.type, right.pitch(),
                       b_step * right.stride(), left.at(a_step == 1 ? 0 : i, 0, d), math.type, left.pitch(),
                       a_step * left.stride(), &beta, result, CUDA_R_32F, cs.dim, c_step * cs.head_size(),
                       as.batch * as.heads / group, math.compute, CUBLAS_GEMM_DEFAULT),
                   "gemm");
    }
  }
}

}  // namespace ringside
