// The standard of a problem: its reference and control, computed once for all variants and splits.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "harness/judge/compare.h"
#include "harness/run/runner.h"
#include "harness/run/shard.h"
#include "harness/tensors/inputs.h"
#include "reference/partials.h"
#include "reference/truth.h"

namespace ringside {

/// A problem's truth for this process's shard, and the control run of it.
struct Standard {
  Shard shard;
  Problem problem;            ///< shard.problem(case)
  bool random = false;        ///< whether the inputs are Gaussian, or look as if they were
  std::vector<Index> rows;    ///< sampled_rows(case): of o and dq, truth and control run have no others
  Truth truth;                ///< fp64 oracle
  HostOutputs control;        ///< one rank's run in the same dtype and math, on the CPU
  PerOut<TensorStats> stats;  ///< of the control run, over all processes' shards
  double inputs_s = 0, reference_s = 0, measure_s = 0;  ///< wall time; reference: oracle and control run
};

inline const Expected& expected_of(const Truth& truth, Out out) {
  const PerOut<const Expected*> all = {{&truth.o, &truth.dq, &truth.dk, &truth.dv}};
  return *all[out];
}

/// The variant that computes an operator on one rank: the control run, and the legacy figure's yardstick.
const Variant& single_rank_variant(Operator op);

/// Fills rows (b, h, positions of `run`) of a tensor: [run.count, dim], values of the case's dtype. Threads
/// call it at the same time.
using InputSource = std::function<void(TensorId id, Index b, Index h, const Run& run, std::span<float> rows)>;

/// Each run of tokens that a rank of a layout holds, all ranks'.
Pieces pieces_of(const Case& c, const Layout& layout);

/// Computes a case's standard; variant, dp and sp do not matter, unless partial results are rounded: then
/// those of `pieces`, or if there are none of the variant's layout. Collective over the fleet's processes.
/// `inputs`: null for those that fill_rows() makes.
Standard make_standard(const Case& c, Fleet& fleet, const InputSource& inputs = nullptr,
                       const Pieces& pieces = {});

/// The standard of the problem that was asked for last: cases that are grouped by problem share it.
class Standards {
 public:
  /// Whether it is that of this case.
  bool has(const Case& c) const;
  /// The case's, valid until another is made. The last one's memory, and the runner's inputs, are given back
  /// before. Collective over the fleet's processes.
  const Standard& of(const Case& c, const Runner& runner);

 private:
  std::string key_;
  std::optional<Standard> standard_;
};

/// What measuring must know of who made the outputs.
struct Maker {
  Layout layout;
  Index block = kOwnBlock;     ///< tokens of the largest block of queries or keys that it multiplies
  std::vector<int> holder{};   ///< sequence rank of each token
  bool rounds_shares = false;  ///< as rounds_shares() has it
};
/// `block`: of the device, DeviceEntry::block.
Maker maker(const Subject& subject, Index block = kOwnBlock);

/// What rounds a case's results: the unit roundoffs that its bounds are made of.
Rounding rounding_of(const Case& c);

/// Whether the bounds of dk and dv hold shares that the variant rounds to storage before it adds them.
bool rounds_shares(const Case& c, const Variant& variant);

/// The `i`-th head of `outputs`, or kv head for dk and dv, which are in the shapes of standard.problem. It
/// refers to all of them.
HeadView head_view(const Case& c, const Maker& maker, const Standard& standard, const HostOutputs& outputs,
                   Out out, Index i);

/// The figures of `outputs` (in the shapes of standard.problem) against the truth, merged over all processes,
/// and those of each rank. `with_legacy`: against the control run.
struct Measured {
  PerOut<TensorStats> stats;
  PerOut<std::vector<RankStats>> ranks;
};
Measured measure_all(const Case& c, const Maker& maker, const Standard& standard, const HostOutputs& outputs,
                     bool with_legacy, Fleet& fleet);

}  // namespace ringside
