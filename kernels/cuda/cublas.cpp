#include "kernels/cuda/cublas.h"

#include <cuda_runtime_api.h>

#include <stdexcept>
#include <string>

#include "kernels/cuda/call.h"
#include "kernels/cuda/shared_library.h"

namespace ringside {
namespace {

/// What NVIDIA recommends for Hopper, more than enough before it.
constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20;

CublasFunctions load_functions() {
  const SharedLibrary library("cuBLAS", {RINGSIDE_CUBLAS_SONAME, RINGSIDE_CUBLAS_PATH});
  CublasFunctions f;
  library.load(f.create, "cublasCreate_v2");
  library.load(f.destroy, "cublasDestroy_v2");
  library.load(f.set_stream, "cublasSetStream_v2");
  library.load(f.set_workspace, "cublasSetWorkspace_v2");
  library.load(f.set_math_mode, "cublasSetMathMode");
  library.load(f.gemm, "cublasGemmStridedBatchedEx_64");
  library.load(f.status_string, "cublasGetStatusString");
  return f;
}

}  // namespace

const CublasFunctions& cublas_functions() {
  static const CublasFunctions functions = load_functions();
  return functions;
}

void cublas_check(cublasStatus_t status, const char* call) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw std::runtime_error(std::string("cuBLAS: ") + call + ": " + cublas_functions().status_string(status));
}

Cublas::Cublas(cudaStream_t stream) {
  const CublasFunctions& f = cublas_functions();
  cublas_check(f.create(&handle_), "create");
  RINGSIDE_CUDA(cudaMalloc(&workspace_, kWorkspaceBytes));
  cublas_check(f.set_stream(handle_, stream), "set_stream");
  cublas_check(f.set_workspace(handle_, workspace_, kWorkspaceBytes), "set_workspace");
  cublas_check(f.set_math_mode(handle_, CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION), "set_math_mode");
}

Cublas::~Cublas() {
  cublas_functions().destroy(handle_);
  RINGSIDE_CUDA_NOTHROW(cudaFree(workspace_));
}

}  // namespace ringside
