// Refuses the device `cuda` in a build without CUDA.
#include <stdexcept>

#include "kernels/cuda/entry.h"
#include "kernels/gpu/unsupported.h"

namespace ringside {

DeviceEntry cuda_entry() {
  return {.name = "cuda",
          .summary = "NVIDIA GPUs, which ranks take in turn",
          .unavailable = "built without CUDA",
          .count = 0,
          .make = [](const DeviceOptions&) -> std::unique_ptr<Device> {
            throw std::logic_error("cuda: built without CUDA");
          },
          .unsupported = beyond_kernels};
}

}  // namespace ringside
