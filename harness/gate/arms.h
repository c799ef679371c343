// The two programs under comparison, and runs of them.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "harness/base/process.h"
#include "harness/cases/case.h"
#include "harness/gate/commands.h"
#include "harness/gate/decide.h"
#include "harness/results/record.h"

namespace ringside {

/// One of the programs.
struct Arm {
  std::string role;    ///< "base", "head"
  std::string binary;  ///< absolute path
  std::string commit;  ///< as it says itself
};

/// A directory that goes with the object.
class Scratch {
 public:
  Scratch();  ///< throws InfrastructureError
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// Runs the programs for the gate.
class Arms {
 public:
  explicit Arms(const GateOptions& options) : options_(options) {}

  /// Throws UsageError unless `binary` is a ringside that can time.
  Arm arm(const std::string& role, const std::string& binary) const;

  /// The verdicts of all cases, by name. Throws UsageError with what the program says of bad input,
  /// InfrastructureError if it fails or crashes.
  std::map<std::string, Record> sweep(const Arm& arm) const;

  /// One round: base, head, head, base, in a process each. Throws InfrastructureError if one of them fails.
  Round round(const Arm& base, const Arm& head, const Case& c) const;

  /// How ranks run: "threads", or "mpi 4".
  std::string ranks() const;

 private:
  Ended run(const Arm& arm, std::vector<std::string> arguments) const;
  double median_iteration(const Arm& arm, const std::string& name) const;

  const GateOptions& options_;
  Scratch scratch_;
  Supervisor supervisor_{scratch_.path()};
};

}  // namespace ringside
