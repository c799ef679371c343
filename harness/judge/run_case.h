// One case from inputs to verdict.
#pragma once

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "harness/base/stopwatch.h"
#include "harness/judge/properties.h"
#include "harness/judge/standard.h"
#include "harness/judge/verdict.h"
#include "harness/run/subject.h"

namespace ringside {

/// Where wall time went, as the root process sees it; no second is counted twice. What a standard took is
/// entered with the case that needed it first.
struct Phases {
  double reference_s = 0;  ///< oracle and control run
  double variant_s = 0;    ///< forward and backward, verified and timed, the slowest rank's each time
  double inputs_s = 0;     ///< making inputs, for the reference too
  double compare_s = 0;    ///< downloading and collecting outputs, measuring, judging
  double checks_s = 0;     ///< running again for properties, and comparing
  double setup_s = 0;      ///< the rest of the ranks' run: starting them, devices, uploads
  double output_s = 0;     ///< dumped tensors, results, tables

  Phases& operator+=(const Phases& other);
};

/// All of them, by the names that results have.
inline constexpr std::array<std::pair<const char*, double Phases::*>, 7> kPhases = {
    {{"reference_s", &Phases::reference_s},
     {"variant_s", &Phases::variant_s},
     {"inputs_s", &Phases::inputs_s},
     {"compare_s", &Phases::compare_s},
     {"checks_s", &Phases::checks_s},
     {"setup_s", &Phases::setup_s},
     {"output_s", &Phases::output_s}}};

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
  bool oversubscribed = false;          ///< more ranks than cores, or GPUs, on this node: times mean little
  std::vector<CheckResult> checks{};    ///< that the case asks for
  std::vector<std::string> failures{};  ///< of the case as a whole, beside those of its tensors
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

/// Sent in each pass by all ranks together and asked of their devices, and the largest memory, peak_bytes and
/// share of a rank, each for itself.
struct Totals {
  Traffic forward, backward;
  PassMemory memory, expected_memory;
  std::int64_t forward_operations = 0, backward_operations = 0;
  std::int64_t peak_bytes = 0;
  Shares shares;
};
Totals totals(const CaseResult& result);

/// All failures of a case, tensors' first: "dq: …".
std::vector<std::string> all_failures(const CaseResult& result);

}  // namespace ringside
