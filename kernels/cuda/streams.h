// A CUDA device's streams, for communicators.
#pragma once

#include <cuda_runtime_api.h>

#include "kernels/device.h"

namespace ringside {

struct CudaStreams {
  int device = 0;                        ///< ordinal of the GPU
  cudaStream_t compute = nullptr;        ///< of the operations
  cudaStream_t communication = nullptr;  ///< of what moves between ranks, beside them
};

/// Those of a `cuda` device, which live as long as it. Throws std::invalid_argument for any other.
CudaStreams streams_of(Device& device);

}  // namespace ringside
