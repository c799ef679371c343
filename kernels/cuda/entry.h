// The device `cuda` in the list of devices: entry.cpp where the build has CUDA, absent.cpp where it has not.
#pragma once

#include "kernels/device.h"

namespace ringside {

DeviceEntry cuda_entry();

}  // namespace ringside
