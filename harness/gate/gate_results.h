// The gate's result, to whoever waits for it.
#pragma once

#include "harness/gate/report.h"
#include "harness/options.h"

namespace ringside {

/// Prints the report, writes the files that are asked for, and returns the exit status.
int publish(const GateReport& report, const GateOptions& options);

}  // namespace ringside
