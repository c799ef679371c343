// Properties of right results that need no reference: the case runs again on inputs, or on a split, changed
// in a way whose effect is known.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "harness/judge/finding.h"
#include "harness/judge/standard.h"
#include "harness/tensors/inputs_change.h"
#include "harness/tensors/outputs.h"

namespace ringside {

/// A case that has run, and what it takes to run it again.
struct Trial {
  const Case& c;
  const Variant& variant;
  const Standard& standard;
  const Runner& runner;
};

/// What a second run must say of one output at positions [first, end), but for [but_first, but_end): factor
/// times what the first said. Nothing by default.
struct Claim {
  Index first = 0, end = 0;
  float factor = 1;
  Index but_first = 0, but_end = 0;
};

/// A second run and what must come of it.
struct Experiment {
  Case c;                 ///< the same problem, perhaps on another split
  std::string when;       ///< in words, for a failure: "with v doubled"
  InputsChange change{};  ///< of the inputs
  bool hostile = false;   ///< messages come late, into poisoned buffers; not under MPI
  bool rounded = false;   ///< each run is within its bound of the truth, not of equal value
  PerOut<Claim> claims{};
};

struct Property {
  Check check;
  std::string_view summary;
  /// Why it says nothing of a case; empty if it does.
  std::string (*why_not)(const Trial& trial);
  std::vector<Experiment> (*experiments)(const Trial& trial);
};

/// All of them, in the order of kChecks.
std::span<const Property> properties();

enum class CheckOutcome { ok, failed, skipped };
std::string_view to_string(CheckOutcome outcome);

/// What came of one check.
struct CheckResult {
  Check check{};
  CheckOutcome outcome = CheckOutcome::ok;
  std::string note{};  ///< why it was skipped, or a reservation
  std::vector<Finding> findings{};
};

/// Makes the checks that the case asks for. `outputs`: of the case's own run, in the shapes of
/// standard.problem. Values are compared, so that zeros are equal whatever their sign (a masked product, 0·x,
/// has that of x), and so are NaNs. Collective over the fleet's processes. Throws what a rank throws.
std::vector<CheckResult> check_properties(const Trial& trial, const HostOutputs& outputs);

}  // namespace ringside
