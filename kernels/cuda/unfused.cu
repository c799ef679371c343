// Matrix products by cuBLAS.
#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/launcher.h"
#include "kernels/gpu/matmul.h"

namespace ringside {
namespace {

/// fp32 is fp32 for any storage; in tf32 tensor cores drop the operands' last bits themselves.
cublasComputeType_t compute_type(Math math) {
  switch (math) {
    case Math::tf32:
      return CUBLAS_COMPUTE_32F_FAST_TF32;
    case Math::bf16:
      return CUBLAS_COMPUTE_32F;
    case Math::fp32:
      break;
  }
  return CUBLAS_COMPUTE_32F_PEDANTIC;
}

cublasOperation_t operation(Transpose transposed) {
  return transposed == Transpose::no ? CUBLAS_OP_N : CUBLAS_OP_T;
}

}  // namespace

void CudaDevice::matmul(const Tensor& a, Transpose ta, const Tensor& b, Transpose tb, const Tensor& c,
                        bool accumulate, Causal causal, TokenSpan tokens) {
  CudaLauncher launch = launcher();
  if (!cublas_) cublas_ = std::make_unique<Cublas>(launch.stream());
  const auto multiply = [&](const Products& x) {
    const cudaDataType_t type = x.dtype == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F;
    const float one = 1;
    // Matrices are column-major there, ours transposed: cᵀ = op(b)ᵀ·op(a)ᵀ.
    cublas_check(
        cublas_functions().gemm(cublas_->get(), operation(x.b.transposed), operation(x.a.transposed), x.n,
                                x.m, x.k, &one, x.b.data, type, x.b.pitch, x.b.stride, x.a.data, type,
                                x.a.pitch, x.a.stride, &x.beta, x.c, CUDA_R_32F, x.c_pitch, x.c_stride,
                                x.batch, compute_type(options_.math), CUBLAS_GEMM_DEFAULT),
        "gemm");
  };
  gpu_matmul(launch, multiply, options_.math, a, ta, b, tb, c, accumulate, causal, tokens);
}

}  // namespace ringside
