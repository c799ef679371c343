// One case from inputs to verdict.
#pragma once

#include <string>
#include <vector>

#include "harness/base/enum_array.h"
#include "harness/base/stopwatch.h"
#include "harness/judge/finding.h"
#include "harness/judge/properties.h"
#include "harness/judge/standard.h"
#include "harness/judge/verdict.h"
#include "harness/run/subject.h"

namespace ringside {

/// Where wall time went, as the root process sees it; no second is counted twice. What a standard took is
/// entered with the case that needed it first.
enum class Phase {
  reference,  ///< oracle and control run
  variant,    ///< forward and backward, verified and timed, the slowest rank's each time
  inputs,     ///< making inputs, for the reference too
  compare,    ///< downloading and collecting outputs, measuring, judging
  checks,     ///< running again for properties, and comparing
  setup,      ///< the rest of the ranks' run: starting them, devices, uploads
  output,     ///< dumped tensors, results, tables
  end
};
using Phases = EnumArray<Phase, double>;  ///< seconds

/// Everything known of one case after its run. The same in all processes, but for wall times.
struct CaseResult {
  Case c;
  std::string directory{};  ///< of tensors that were given; empty: the case's variant made them
  Status status = Status::skip;
  std::string reason{};  ///< why it was skipped, or all that is wrong with it, a known fault first
  PerOut<TensorVerdict> tensors{};
  std::vector<RankMeasure> ranks{};             ///< one a rank of the world
  std::vector<Timeline> timelines{};            ///< likewise, if it was timed; in the root process alone
  std::vector<PassTraffic> expected_traffic{};  ///< likewise
  std::vector<PassMemory> expected_memory{};    ///< likewise
  Timing forward{}, forward_backward{};         ///< of the timed iterations, each the slowest rank's
  int repeat = 0;                               ///< timed iterations made
  double matmul_tflops = 0;                     ///< matmul_peak() of its dtype and math; 0: not measured
  bool oversubscribed = false;        ///< more ranks than cores, or GPUs, on this node: times mean little
  std::vector<CheckResult> checks{};  ///< that the case asks for
  std::vector<Finding> findings{};    ///< of the case as a whole, beside those of its tensors
  Phases phases{};
};

/// What is asked of a case's run besides the verdict.
struct RunOptions {
  TimingPlan timing{};
  HostOutputs* keep = nullptr;  ///< if not null, gets the outputs of this process's shard
};

/// Runs and judges a case that the variant supports. Collective over the fleet's processes. Throws what a
/// rank throws.
CaseResult run_case(const Runner& runner, const Subject& subject, const Standard& standard,
                    const RunOptions& options = {});

/// Judges the tensors of result.c from what was measured of them. `given`: those that there are.
void judge_outputs(Measured measured, const Standard& standard, const PerOut<bool>& given,
                   CaseResult& result);

/// Enters status and reason, once all failures are there.
void conclude(CaseResult& result);

/// All that is wrong with a case, tensors' findings first.
std::vector<Finding> all_findings(const CaseResult& result);

}  // namespace ringside
