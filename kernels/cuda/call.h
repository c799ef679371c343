// Calls of the CUDA runtime: whoever makes one looks at what it returns.
#pragma once

#include <cuda_runtime_api.h>

namespace ringside {

/// Throws std::runtime_error with the call's text, the error's name and meaning and the place, unless
/// `status` is cudaSuccess. Errors of earlier asynchronous work surface here too.
void cuda_check(cudaError_t status, const char* call, const char* file, int line);
/// The same for destructors: says it on stderr and goes on. What a driver says that is shutting down is no
/// news.
void cuda_report(cudaError_t status, const char* call, const char* file, int line) noexcept;

}  // namespace ringside

#define RINGSIDE_CUDA(call) ::ringside::cuda_check((call), #call, __FILE_NAME__, __LINE__)
#define RINGSIDE_CUDA_NOTHROW(call) ::ringside::cuda_report((call), #call, __FILE_NAME__, __LINE__)
