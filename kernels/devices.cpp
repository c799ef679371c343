// The devices of this build.
#include <array>

#include "kernels/cuda/entry.h"
#include "kernels/device.h"
#include "kernels/emulated/emulated_device.h"

namespace ringside {

namespace {

DeviceEntry cpu_entry() {
  return {
      .name = "cpu",
      .summary = "one thread a rank, fp32 arithmetic on vectorised tiles",
      .unavailable = std::nullopt,
      .count = 0,
      .make =
          [](const DeviceOptions& options) {
            return make_cpu_device({.math = options.math, .poison = options.poison});
          },
      .unsupported = [](const Problem&, DType, Math) -> std::optional<std::string> { return std::nullopt; }};
}

constexpr std::array<NamedDevice, 3> kDevices = {
    {{"cpu", cpu_entry}, {"emulated", emulated_entry}, {"cuda", cuda_entry}}};

}  // namespace

std::span<const NamedDevice> named_devices() { return kDevices; }

std::vector<DeviceEntry> devices() {
  std::vector<DeviceEntry> all;
  for (const NamedDevice& device : kDevices) all.push_back(device.entry());
  return all;
}

}  // namespace ringside
