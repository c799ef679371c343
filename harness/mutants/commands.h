// Commands that try the judge: mutants and soak.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace ringside {

struct SoakOptions {
  std::optional<double> minutes;     ///< default 1, if cases are not given
  std::optional<int> cases;          ///< at least so many
  std::optional<std::int64_t> seed;  ///< >= 0; empty: a fresh one
  std::string red = "soak-red.csv";  ///< file for the cases that fail, if any does
  std::string device = "cpu";
};

struct MutantsOptions {
  std::string filter;                ///< regex searched in "number bug variant"; empty: all
  std::optional<std::string> cases;  ///< CSV file; empty: the discriminating set, which is compiled in
  std::optional<std::string> csv;    ///< file for a line a run
  bool list = false;                 ///< show them instead
  bool smoke = false;                ///< one variant a bug
  std::string device = "cpu";
};

/// Runs random cases of right variants, all of which must pass: 0, or 1 if one does not.
int soak(const SoakOptions& options);
/// Plants bugs and demands that each turns a verdict red: 0, or 1 if one survives or a right variant is red.
int mutants(const MutantsOptions& options);

}  // namespace ringside
