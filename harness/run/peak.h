// Measures the FLOP rate of a large matrix product here.
#pragma once

#include <map>
#include <string>
#include <utility>

#include "harness/run/fleet.h"
#include "reference/dtype.h"

namespace ringside {

/// TFLOP/s of a large matrix product by the device (dtype in, fp32 out), on as many ranks at once as there
/// are cores, or such devices: all their work over the slowest rank's median time of five. Takes tens of
/// milliseconds. Collective over the fleet's processes; the same in all.
double matmul_peak(DType dtype, Math math, const DeviceEntry& device, Fleet& fleet);

/// Peaks that were measured already.
class Peaks {
 public:
  double of(DType dtype, Math math, const DeviceEntry& device, Fleet& fleet) {
    const auto [at, is_new] = known_.try_emplace({dtype, math});
    if (is_new) at->second = matmul_peak(dtype, math, device, fleet);
    return at->second;
  }

 private:
  std::map<std::pair<DType, Math>, double> known_;
};

}  // namespace ringside
