#include "kernels/cuda/call.h"

#include <cstdio>
#include <stdexcept>
#include <string>

namespace ringside {

void cuda_check(cudaError_t status, const char* call, const char* file, int line) {
  if (status == cudaSuccess) return;
  throw std::runtime_error(std::string(file) + ":" + std::to_string(line) + ": " + call + ": " +
                           cudaGetErrorName(status) + ": " + cudaGetErrorString(status));
}

void cuda_report(cudaError_t status, const char* call, const char* file, int line) noexcept {
  if (status == cudaSuccess || status == cudaErrorCudartUnloading) return;
  std::fprintf(stderr, "ringside: %s:%d: %s: %s: %s\n", file, line, call, cudaGetErrorName(status),
               cudaGetErrorString(status));
}

}  // namespace ringside
