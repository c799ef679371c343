// Cases and variants: which cases are meant, and which share a reference.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "distributed/layout.h"
#include "harness/cases/case_file.h"

namespace ringside {

/// The operators of the registered variants of that name. Throws UsageError for a family whose number is
/// missing or is none.
std::vector<Operator> registered_operators(std::string_view variant);

/// The cases of a file whose names match. Throws UsageError: no such file, a fault in it, a bad regex, no
/// match.
std::vector<Case> select_cases(const std::string& file, const std::string& filter);

/// The cells of one case: `text` is "column=value,…", or a case file of which `filter` leaves one. Throws
/// UsageError as parse_cells() and select_cases(), or if the filter leaves several.
std::vector<CaseCell> case_cells(const std::string& text, const std::string& filter);

/// The layout of the name in a cell; if it is empty, that of the variant that the cells name, or contiguous.
/// Throws UsageError, with the cell's source, for another name.
Layout layout_named(const CaseCell& layout, const std::vector<CaseCell>& cells);

/// Equal for two cases exactly if one Standard serves both.
std::string standard_key(const Case& c);

}  // namespace ringside
