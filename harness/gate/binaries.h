// gate --base --head.
#pragma once

#include "harness/gate/commands.h"

namespace ringside {

/// Two programs: verdicts and exact figures of both, then times in pairs. Prints and writes the report and
/// returns its status. Throws UsageError for a program or cases that cannot be used, InfrastructureError if a
/// program crashes, or for a signal, once what is finished has been reported.
int gate_binaries(const GateOptions& options);

}  // namespace ringside
