// The dashboard as a file.
#pragma once

#include <string>
#include <string_view>

namespace ringside {

/// The page with `json` in it: everything in one text, which loads nothing.
std::string dashboard_page(std::string_view json);

/// JSON that means the same and can stand in a script element: no <, >, & nor line separators of JavaScript.
std::string escape_for_script(std::string_view json);

/// Writes `file` in one step, in place of an earlier one: until then, and on an error, that one stays and
/// nothing else is left. Throws UsageError if it cannot be written there or something else than a file is,
/// InfrastructureError if writing fails.
void write_page(const std::string& file, const std::string& page);

}  // namespace ringside
