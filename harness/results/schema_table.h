// The table of fields: what a row's members are taken from.
#pragma once

#include <functional>
#include <vector>

#include "harness/base/json.h"
#include "harness/results/results.h"
#include "harness/results/schema.h"

namespace ringside {

/// A field and its value in what it is taken from; null if there is none.
template <typename From>
struct Source : Field {
  std::function<Json(const From&)> get;
};

struct OfTensor {
  const CaseResult& result;
  Out out;
  const TensorVerdict& verdict = result.tensors[out];
  const TensorStats& stats = verdict.stats;
};

struct OfRank {
  const RankMeasure& measured;
  const PassTraffic& traffic;  ///< the variant's formula
  const PassMemory& memory;    ///< likewise
};

struct OfRow {
  const CaseResult& result;
  const RunInfo& run;
};

/// Of each tensor.
extern const std::vector<Source<OfTensor>> kOfTensor;
/// Of each rank; a row has their sum over all ranks.
extern const std::vector<Source<OfRank>> kSummed;
/// Of each rank; a row has the largest.
extern const std::vector<Source<OfRank>> kLargest;
/// Of a row: before the case; of a timed case; wall times of a case that ran; of the run.
extern const std::vector<Source<OfRow>> kFirst, kPerf, kWall, kOfRun;

}  // namespace ringside
