// The device that somebody named.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include "kernels/device.h"
#include "reference/error.h"

namespace ringside {

/// The entry of the device of that name, available or not; the others are not asked for theirs. Throws
/// UsageError, with the devices there are, if there is none.
inline DeviceEntry device_entry(std::string_view name, std::span<const NamedDevice> all = named_devices()) {
  const auto named = std::ranges::find(all, name, &NamedDevice::name);
  if (named != all.end()) return named->entry();
  std::string known;
  for (const NamedDevice& device : all) known.append(known.empty() ? "" : ", ").append(device.name);
  throw UsageError("--device " + std::string(name) + ": no such device; there is " + known);
}

/// The same; UsageError also if it cannot be used here.
inline DeviceEntry usable_device(std::string_view name) {
  DeviceEntry entry = device_entry(name);
  if (!entry.unavailable) return entry;
  throw UsageError("--device " + std::string(name) + ": " + *entry.unavailable);
}

}  // namespace ringside
