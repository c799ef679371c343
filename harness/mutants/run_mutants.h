// Runs planted bugs and sums up their verdicts.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "harness/judge/run_case.h"
#include "harness/mutants/mutant.h"

namespace ringside {

/// How one run of a mutant ended.
struct Catch {
  Case c;
  bool red = false;  ///< by its tensors, by repetition, or by the error that was asked for; not by accounts
  std::string check{};       ///< the rule that saw it most clearly, or "error"
  double share = 0;          ///< of that rule's limit; infinite where there is no size to it; 0: none
  std::string tensors{};     ///< all that are red: "o dq"
  std::vector<int> ranks{};  ///< that hold elements beyond their bound
  std::string error{};       ///< what ended the run, if anything did
  bool legacy =
      false;  ///< the mean over rank 0 shows it: more than 1e-3 above the control run's, in any tensor
};

/// One mutant over all cases of its variant.
struct MutantResult {
  Mutant mutant;
  std::vector<Catch> runs{};

  bool caught() const;
  bool legacy() const;
  int red() const;
  /// The red run that shows it most clearly; null if none is.
  const Catch* clearest() const;
};

struct MutantsResult {
  std::vector<MutantResult> mutants;
  int clean_runs = 0;
  std::vector<std::string> false_alarms{};  ///< right variants that turned red, with the reason
  double seconds = 0;
};

/// Runs every case with its right variant, which must pass, and with every mutant of that variant, on
/// threads that each have a `device`, with receive buffers poisoned and messages late. A case that the device
/// does not compute is left out. One that must end the run is run until it has
/// done so; one without a case is left out. `progress` is told of each case. Throws what a mutant throws
/// unasked.
MutantsResult run_mutants(const std::vector<Mutant>& mutants, std::vector<Case> cases,
                          const std::function<void(const std::string&)>& progress,
                          const std::string& device = "cpu");

/// A line a bug, with the variant in which it shows least, and what they come to.
std::string mutants_table(const MutantsResult& result);

/// A line a run, with a header: number,bug,variant,case,red,check,share,tensors,ranks,legacy,error.
std::string mutants_csv(const MutantsResult& result);

}  // namespace ringside
