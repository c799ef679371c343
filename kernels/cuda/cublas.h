// cuBLAS, opened when it is first needed.
#pragma once

#include <cublas_v2.h>

#include <cstddef>
#include <memory>

namespace ringside {

/// The functions of cuBLAS that Ringside calls.
struct CublasFunctions {
  decltype(&cublasCreate_v2) create = nullptr;
  decltype(&cublasDestroy_v2) destroy = nullptr;
  decltype(&cublasSetStream_v2) set_stream = nullptr;
  decltype(&cublasSetWorkspace_v2) set_workspace = nullptr;
  decltype(&cublasSetMathMode) set_math_mode = nullptr;
  decltype(&cublasGemmStridedBatchedEx_64) gemm = nullptr;
  decltype(&cublasGetStatusString) status_string = nullptr;
};

/// Throws InfrastructureError with the loader's reason if the library is not to be had.
const CublasFunctions& cublas_functions();

/// A handle for one stream of the current device, with a workspace of its own: results are the same bits each
/// time, whatever other streams do.
class Cublas {
 public:
  explicit Cublas(cudaStream_t stream);
  ~Cublas();
  Cublas(const Cublas&) = delete;
  Cublas& operator=(const Cublas&) = delete;

  cublasHandle_t get() const { return handle_; }

 private:
  cublasHandle_t handle_ = nullptr;
  void* workspace_ = nullptr;
};

/// Throws std::runtime_error with the call's name unless `status` is CUBLAS_STATUS_SUCCESS.
void cublas_check(cublasStatus_t status, const char* call);

}  // namespace ringside
