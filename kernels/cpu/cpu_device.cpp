#include "kernels/cpu/cpu_device.h"

namespace ringside {

std::optional<std::string> CpuDevice::unsupported(DType, Math math) const {
  if (math == Math::fp32) return std::nullopt;
  return "math " + std::string(to_string(math)) + " is not implemented on cpu yet";
}

std::unique_ptr<Device> make_cpu_device(CpuOptions options) { return std::make_unique<CpuDevice>(options); }

}  // namespace ringside
