// The device `cuda` where the build has CUDA: whether it can be used is found when the program runs.
#include "kernels/cuda/entry.h"

#include <cuda_runtime_api.h>

#include <stdexcept>
#include <string>

#include "kernels/cuda/call.h"
#include "kernels/cuda/cuda_device.h"
#include "kernels/gpu/limits.h"
#include "kernels/gpu/unsupported.h"

namespace ringside {
namespace {

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

/// Why GPUs cannot be used, if they cannot; else their number.
std::optional<std::string> missing(int& count) {
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaErrorInsufficientDriver) {
    int driver = 0;
    RINGSIDE_CUDA(cudaDriverGetVersion(&driver));
    if (driver == 0) return "no NVIDIA driver";
    return "the NVIDIA driver is for CUDA " + version_text(driver) + ", this build's is " +
           version_text(CUDART_VERSION);
  }
  if (status == cudaErrorNoDevice || (status == cudaSuccess && count == 0)) return "no GPU";
  if (status != cudaSuccess) return cudaGetErrorString(status);
  for (int i = 0; i < count; ++i) {
    int major = 0, minor = 0;
    RINGSIDE_CUDA(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, i));
    RINGSIDE_CUDA(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, i));
    if (10 * major + minor < RINGSIDE_OLDEST_GPU) {
      return "GPU is sm_" + std::to_string(10 * major + minor) + "; this build has code for sm_" +
             std::to_string(RINGSIDE_OLDEST_GPU) + " and newer";
    }
    int shared = 0;
    RINGSIDE_CUDA(cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, i));
    if (shared < kMostSharedBytes) {
      return "GPU has " + std::to_string(shared / 1024) +
             " KiB of shared memory for a block; the kernels need " + std::to_string(kMostSharedBytes / 1024);
    }
  }
  return std::nullopt;
}

}  // namespace

DeviceEntry cuda_entry() {
  int count = 0;
  const std::optional<std::string> reason = missing(count);
  return {.name = "cuda",
          .summary = "NVIDIA GPUs, which ranks take in turn",
          .unavailable = reason,
          .count = reason ? 0 : count,
          .block = kMaxTile,
          .make = [](const DeviceOptions& options) -> std::unique_ptr<Device> {
            return std::make_unique<CudaDevice>(options);
          },
          .unsupported = beyond_kernels};
}

}  // namespace ringside
