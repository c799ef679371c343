#include "kernels/cpu/cpu_device.h"

namespace ringside {

std::unique_ptr<Device> make_cpu_device(CpuOptions options) { return std::make_unique<CpuDevice>(options); }

}  // namespace ringside
