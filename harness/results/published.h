// Figures that LASP published, to be printed beside ours.
#pragma once

#include <optional>
#include <span>

#include "harness/cases/case.h"
#include "harness/tensors/outputs.h"

namespace ringside {

/// A row of baselines/published/lasp_diffs_4xA100.csv: mean |x - y| on rank 0 in bf16, y LASP's single-device
/// run.
struct PublishedDiffs {
  std::string_view variant;
  int world = 0, dp = 0, sp = 0;
  PerOut<double> mean_abs{};
};

/// The whole table. It is compiled in, so that the program finds it wherever it runs.
std::span<const PublishedDiffs> lasp_published();

/// What LASP published for this case: same variant and grid, in bf16, and the problem of its test (global
/// batch 8, 2048 tokens, 12 heads, d 128, e 64, ALiBi slopes, Gaussian inputs; its test has no seed). Empty
/// for any other case.
std::optional<PerOut<double>> published(const Case& c);

}  // namespace ringside
