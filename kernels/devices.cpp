// The devices of this build.
#include "kernels/device.h"

namespace ringside {

std::vector<DeviceEntry> devices() {
  return {{.name = "cpu",
           .summary = "one thread a rank, fp32 arithmetic on vectorised tiles",
           .unavailable = std::nullopt,
           .make = [](Math math, bool poison) { return make_cpu_device({.math = math, .poison = poison}); }}};
}

}  // namespace ringside
