// Names the variant under test and on what it runs.
#pragma once

#include <memory>

#include "distributed/variant.h"
#include "harness/run/fleet.h"
#include "harness/run/host_inputs.h"
#include "harness/run/placement.h"
#include "kernels/device.h"

namespace ringside {

/// A variant under test and its case, which both live longer, and who holds what of it.
struct Subject {
  const Case& c;
  const Variant& variant;
  Placement placement{c, variant.layout};
};

/// What cases run on. Runners of the same cases on other fleets may share the inputs.
struct Runner {
  DeviceEntry device;
  Fleet& fleet;
  std::shared_ptr<InputsCache> inputs = std::make_shared<InputsCache>();
};

}  // namespace ringside
