#include "kernels/emulated/emulated_device.h"

#include "kernels/gpu/unsupported.h"

namespace ringside {

DeviceEntry emulated_entry() {
  return {
      .name = "emulated",
      .summary = "the GPU's kernels, thread by thread on an emulated GPU: to judge them, slowly",
      .unavailable = std::nullopt,
      .count = 0,
      .block = kMaxTile,
      .make = [](const DeviceOptions& options) -> std::unique_ptr<Device> {
        return std::make_unique<EmulatedDevice>(CpuOptions{.math = options.math, .poison = options.poison});
      },
      .unsupported = beyond_kernels};
}

}  // namespace ringside
