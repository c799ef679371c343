// Brings the ranks' outputs to the processes that judge them.
#pragma once

#include "harness/run/shard.h"
#include "harness/run/subject.h"
#include "harness/tensors/outputs.h"

namespace ringside {

/// The outputs of all ranks for this process's shard, as dense tensors in the shapes of shard.problem(c).
/// `mine` are the runs of the ranks that this process hosts, in rank order. Collective over the fleet's
/// processes. Each batch entry's and head's results stand where its data came from, if the inputs are changed.
HostOutputs collect(const Runner& runner, const Subject& subject, const std::vector<RankRun>& mine);

}  // namespace ringside
