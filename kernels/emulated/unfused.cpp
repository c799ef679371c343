// Matrix products for the GPU's host half, in plain loops.
#include "kernels/cpu/memory_rows.h"
#include "kernels/emulated/emulated_device.h"
#include "kernels/gpu/matmul.h"
#include "reference/denormals.h"

namespace ringside {
namespace {

/// op(factor) of product `batch`, densely: [rows, cols] fp32 operands.
std::vector<float> operands(const Products& x, const Products::Factor& factor, Index batch, Math math,
                            Index rows, Index cols) {
  std::vector<float> out;
  with_type(x.dtype, [&]<typename T>(T) {
    const T* const matrix = reinterpret_cast<const T*>(factor.data) + batch * factor.stride;
    const bool plain = factor.transposed == Transpose::no;
    for (Index i = 0; i < rows; ++i) {
      for (Index j = 0; j < cols; ++j)
        out.push_back(to_float(matrix[plain ? i * factor.pitch + j : j * factor.pitch + i]));
    }
  });
  round_operand(math, out.data(), std::ssize(out));
  return out;
}

void multiply_plainly(const Products& x, Math math) {
  for (Index batch = 0; batch < x.batch; ++batch) {
    const std::vector<float> a = operands(x, x.a, batch, math, x.m, x.k),
                             b = operands(x, x.b, batch, math, x.k, x.n);
    std::vector<float> sums(static_cast<std::size_t>(x.n));
    for (Index i = 0; i < x.m; ++i) {
      std::ranges::fill(sums, 0.0f);
      for (Index l = 0; l < x.k; ++l) {
        const float factor = a[static_cast<std::size_t>(i * x.k + l)];
        const float* const row = b.data() + l * x.n;
        for (Index j = 0; j < x.n; ++j) sums[static_cast<std::size_t>(j)] += factor * row[j];
      }
      float* const c = x.c + batch * x.c_stride + i * x.c_pitch;
      for (Index j = 0; j < x.n; ++j) {
        const float sum = sums[static_cast<std::size_t>(j)];
        c[j] = x.beta == 0 ? sum : x.beta * c[j] + sum;
      }
    }
  }
}

}  // namespace

void EmulatedDevice::matmul(const Tensor& a, Transpose ta, const Tensor& b, Transpose tb, const Tensor& c,
                            bool accumulate, Causal causal, TokenSpan tokens) {
  const DenormalMode guard(DenormalMode::flush);
  const auto multiply = [this](const Products& x) { multiply_plainly(x, options_.math); };
  gpu_matmul(launcher_, multiply, options_.math, a, ta, b, tb, c, accumulate, causal, tokens);
}

}  // namespace ringside
