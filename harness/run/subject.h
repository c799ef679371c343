// One rank's run of the variant under test.
#pragma once

#include <string>
#include <vector>

#include "harness/run/runner.h"
#include "harness/run/timeline.h"
#include "harness/tensors/outputs.h"

namespace ringside {

/// What a rank measured. Plain data, so that it can travel between processes.
struct RankMeasure {
  Traffic forward, backward;  ///< sent in one pass
  PassMemory memory;          ///< most that each pass held beyond what was there when it began
  std::int64_t forward_operations = 0, backward_operations = 0;  ///< that the variant asked its device for
  std::int64_t peak_bytes = 0;  ///< largest device memory in use during forward and backward, inputs included
  std::int64_t repeats_equal = 1;  ///< 1 if the timed iterations on its inputs gave the verified one's bits
  double iteration_s = 0;          ///< median of this rank's timed forward and backward passes
  Shares shares;                   ///< of these, each figure the median over the iterations
  double inputs_s = 0;             ///< wall time of making inputs, if they are new
  double verified_s = 0;           ///< of forward and backward in the verified pass
  double download_s = 0;           ///< of downloading outputs, and comparing those of timed iterations
};

/// One rank's outputs, in storage dtype, and measures. Times are those of each timed iteration, in seconds.
struct RankRun {
  int rank = 0;
  PerOut<std::vector<std::byte>> outputs{};
  RankMeasure measure{};
  std::vector<double> forward_s{};
  std::vector<double> forward_backward_s{};
  Timeline timeline{};  ///< of the last timed iteration
};

/// How long a case is timed: `repeat` iterations (0: not at all), but once they have taken `limit_s` seconds
/// only one more. trace: with a timeline of what the rank did, though its device does it later than it is
/// asked to and must be waited for after each operation; otherwise such a device's timeline has passes alone.
struct TimingPlan {
  int repeat = 0;
  double limit_s = 0;
  bool trace = false;
};

/// Takes one rank's inputs, runs forward and backward once on poisoned memory (the outputs that are judged),
/// then timed, each iteration after a barrier over all ranks of `world`, the case's dp·sp ranks; all ranks
/// make equally many. The second and the last have the same inputs and are compared with what was verified;
/// the others, or one that is not timed if a single one is, have the same values in the opposite order: what
/// a variant keeps of an iteration is wrong in the next. Throws what the variant, the device or the
/// communicator throw.
RankRun run_rank(const Runner& runner, const Subject& subject, Communicator& world,
                 const TimingPlan& timing = {});

/// run_rank() on the ranks that this process hosts, in rank order. Collective over the fleet's processes.
/// hostile: as for Fleet::run.
std::vector<RankRun> run_ranks_here(const Runner& runner, const Subject& subject,
                                    const TimingPlan& timing = {}, bool hostile = false);

}  // namespace ringside
