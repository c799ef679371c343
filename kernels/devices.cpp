// The devices of this build.
#include "kernels/cuda/entry.h"
#include "kernels/device.h"
#include "kernels/emulated/emulated_device.h"

namespace ringside {

std::vector<DeviceEntry> devices() {
  const DeviceEntry cpu = {
      .name = "cpu",
      .summary = "one thread a rank, fp32 arithmetic on vectorised tiles",
      .unavailable = std::nullopt,
      .count = 0,
      .make =
          [](const DeviceOptions& options) {
            return make_cpu_device({.math = options.math, .poison = options.poison});
          },
      .unsupported = [](const Problem&, DType, Math) -> std::optional<std::string> { return std::nullopt; }};
  return {cpu, emulated_entry(), cuda_entry()};
}

}  // namespace ringside
