// The device that somebody named.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include "kernels/device.h"
#include "reference/error.h"

namespace ringside {

/// Throws UsageError, with the devices there are, unless there is one of that name, available or not.
inline DeviceEntry device_entry(std::string_view name) {
  const auto all = devices();
  const auto entry = std::ranges::find(all, name, &DeviceEntry::name);
  if (entry != all.end()) return *entry;
  std::string known;
  for (const DeviceEntry& device : all) known.append(known.empty() ? "" : ", ").append(device.name);
  throw UsageError("--device " + std::string(name) + ": no such device; there is " + known);
}

/// The same; UsageError also if it cannot be used here.
inline DeviceEntry usable_device(std::string_view name) {
  DeviceEntry entry = device_entry(name);
  if (!entry.unavailable) return entry;
  throw UsageError("--device " + std::string(name) + ": " + *entry.unavailable);
}

}  // namespace ringside
