// What sweep and explain have in common: where ranks live, which cases are meant, how errors end a run.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "harness/case_file.h"
#include "harness/fleet.h"
#include "harness/options.h"
#include "harness/results.h"

namespace ringside {

/// Runs body on the fleet that the options ask for and returns its status. Under MPI an error that all
/// processes meet alike (UsageError) is thrown in all; any other error of one of them is printed there and
/// ends them all with status 5 (MPI_Abort).
int in_session(const SessionOptions& options, const std::function<int(Fleet&)>& body);

/// Runs body in the root process; what it throws is thrown in all. Collective.
void on_root(Fleet& fleet, const std::function<void()>& body);

/// The operators of the registered variants of that name. Throws UsageError for a family whose number is
/// missing or is none.
std::vector<Operator> registered_operators(std::string_view variant);

/// The cases of a file whose names match. Throws UsageError: no such file, a fault in it, a bad regex, no
/// match.
std::vector<Case> select_cases(const std::string& file, const std::string& filter);

/// The cells of one case: `text` is "column=value,…", or a case file of which `filter` leaves one. Throws
/// UsageError as parse_cells() and select_cases(), or if the filter leaves several.
std::vector<CaseCell> case_cells(const std::string& text, const std::string& filter);

/// The last of a column's cells, or null.
const CaseCell* find_cell(const std::vector<CaseCell>& cells, std::string_view column);

/// Appends, if no cell says what products do, what kernels usually do with that dtype: bf16 for bf16 (they
/// round probabilities too), TF32 for fp16 (which rounds less than TF32 truncates), fp32 for fp32.
void add_usual_math(std::vector<CaseCell>& cells);

/// The layout of that name; if it is empty, that of the variant that the cells name, or contiguous. Throws
/// UsageError for another name.
Layout layout_named(const std::string& name, const std::vector<CaseCell>& cells);

/// Throws UsageError, with the devices there are, unless `device` is one that can be used here.
RunInfo run_info(const std::string& device, const Fleet& fleet);

}  // namespace ringside
