#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <regex>
#include <set>

#include "distributed/comm/mpi_communicator.h"
#include "distributed/comm/watchdog.h"
#include "harness/cases/case_file.h"
#include "harness/cases/select_cases.h"
#include "harness/mutants/commands.h"
#include "harness/mutants/run_mutants.h"
#include "reference/error.h"

namespace ringside {

/// Content of cases/mutants.csv, compiled in (mutant_cases.cpp).
extern const char* const kMutantCases;

namespace {

std::vector<Mutant> select_mutants(const MutantsOptions& options) {
  std::vector<Mutant> all = all_mutants();
  const std::regex regex(options.filter);
  std::erase_if(all, [&](const Mutant& m) {
    return !std::regex_search(fmt::format("{} {} {}", m.number, m.bug, m.twin.name), regex);
  });
  if (all.empty()) throw UsageError(fmt::format("--filter '{}' matches no planted bug", options.filter));
  if (!options.smoke) return all;
  std::set<std::string_view> seen;
  std::erase_if(all, [&](const Mutant& m) { return !seen.insert(m.bug).second; });
  return all;
}

int list_mutants(const std::vector<Mutant>& mutants) {
  for (std::size_t i = 0; i < mutants.size();) {
    const Mutant& first = mutants[i];
    std::string names;
    for (; i < mutants.size() && mutants[i].bug == first.bug; ++i) {
      if (!names.ends_with(mutants[i].twin.name)) {
        names += fmt::format("{}{}", names.empty() ? "" : ", ", mutants[i].twin.name);
      }
    }
    fmt::print("{:>3}  {:<23} {}\n{:29}{}\n", first.number ? std::to_string(first.number) : "-", first.bug,
               first.summary, "", names);
  }
  fmt::print("\nnot planted:\n");
  for (const AbsentBug& bug : absent_bugs()) fmt::print("{:>3}  {:<23} {}\n", bug.number, bug.bug, bug.why);
  return 0;
}

}  // namespace

int mutants(const MutantsOptions& options) {
  if (MpiSession::launched_by_mpi())
    throw UsageError(
        "mutants: started by mpirun, so every process would repeat the same work; leave mpirun out");
  const std::vector<Mutant> selected = select_mutants(options);
  if (options.list) return list_mutants(selected);
  std::vector<Case> cases = options.cases ? read_cases(*options.cases, registered_operators)
                                          : parse_cases(kMutantCases, "mutants.csv", registered_operators);
  std::ofstream csv;
  if (options.csv) csv.open(*options.csv);
  if (!csv) throw UsageError(fmt::format("--csv {}: {}", *options.csv, std::strerror(errno)));
  const Watchdog watchdog;
  const auto progress = [](const std::string& name) { fmt::print(stderr, "{}\n", name); };
  const MutantsResult result = run_mutants(selected, std::move(cases), progress, options.device);
  fmt::print("{}", mutants_table(result));
  if (options.csv && !(csv << mutants_csv(result)).flush()) {
    throw InfrastructureError(fmt::format("{}: {}", *options.csv, std::strerror(errno)));
  }
  if (result.mutants.empty()) throw UsageError("no case is of a variant with a planted bug");
  const bool all = std::ranges::all_of(result.mutants, &MutantResult::caught);
  return all && result.false_alarms.empty() ? 0 : 1;
}

}  // namespace ringside
