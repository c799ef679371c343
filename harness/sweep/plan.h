// Plans a sweep: its cases, memory and time.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "distributed/variant.h"
#include "harness/cases/case.h"
#include "harness/run/device_entry.h"

namespace ringside {

/// One case of a sweep, in the order of the run.
struct PlannedCase {
  Case c;
  const Variant* variant = nullptr;
  std::optional<std::string> skip;  ///< why it will not run
  int problem = 0;                  ///< number of its problem: cases with the same share a standard
};

/// Memory (bytes, all processes of a node together) and time (seconds, very roughly) that something takes.
struct Estimate {
  double bytes = 0;
  double seconds = 0;
};

struct Plan {
  std::vector<PlannedCase> cases;  ///< those of one problem stand together
  int to_run = 0;
  int standards = 0;  ///< distinct problems × dtypes
  Estimate needs;     ///< peak memory, total time
};

/// How often a case will be timed.
using Repeats = std::function<int(const Case&)>;

/// Decides what runs on `device`. `world`: the most ranks there are, if limited.
Plan make_plan(std::vector<Case> cases, std::optional<int> world, const Repeats& repeats, int cores,
               const DeviceEntry& device = device_entry("cpu"));

/// Needs of one case: inputs, outputs, the standard's fp64 tensors, the ranks' memory.
Estimate estimate(const Case& c, const Repeats& repeats, int cores);

}  // namespace ringside
