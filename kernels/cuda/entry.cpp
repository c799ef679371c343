// The device `cuda` where the build has CUDA: whether it can be used is found when the program runs.
#include "kernels/cuda/entry.h"

#include <cuda_runtime_api.h>

#include <stdexcept>
#include <string>

namespace ringside {

DeviceEntry cuda_entry() {
  return {
      .name = "cuda",
      .summary = "NVIDIA GPUs",
      .unavailable = "its attention kernels are not there yet",
      .count = 0,
      .make = [](const DeviceOptions&) -> std::unique_ptr<Device> {
        throw std::logic_error("its attention kernels are not there yet");
      },
      .unsupported = [](const Problem&, DType, Math) -> std::optional<std::string> { return std::nullopt; }};
}

}  // namespace ringside
