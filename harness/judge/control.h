// The control: one rank's plain run on the CPU, a right one.
#pragma once

#include "harness/cases/case.h"
#include "harness/run/fleet.h"
#include "harness/tensors/outputs.h"
#include "reference/partials.h"
#include "reference/truth.h"

namespace ringside {

/// One rank's run in the dtype and math of `c`, of all (batch, kv head) groups of `whole`, which the fleet's
/// threads share. With c.partials the blocks that a ring would compute, each of one of the `pieces` against
/// another, rounded before they are merged or summed in fp32; else one block. Query rows that `operands` do
/// not ask for are left at 0.
HostOutputs control_run(const Case& c, const Problem& whole, const Operands& operands, const Pieces& pieces,
                        Fleet& fleet);

}  // namespace ringside
