// A case as JSON. Includes a heavy header: for the few units that write JSON.
#pragma once

#include <array>
#include <filesystem>
#include <string_view>
#include <vector>

#include "harness/base/json.h"
#include "harness/cases/case_file.h"

namespace ringside {

/// Every column by its name, numbers as numbers, booleans as booleans; decay is "alibi" or the slope.
Json case_json(const Case& c);

/// What a case.json may say of the files beside it, besides the case: which tokens each rank has, and the
/// order of axes.
inline constexpr std::array<std::string_view, 2> kFileColumns = {"layout", "axes"};

/// What case_json() wrote, as cells, those of kFileColumns too. `source`: what messages call it. Throws
/// UsageError "source: message": no such object, an unknown column, a value that is no cell's.
std::vector<CaseCell> cells_of(const Json& json, std::string_view source);

/// The cells of a case.json that `sweep --dump` or `make-inputs` wrote into `directory`; none if there is no
/// such file. Throws UsageError "file: message".
std::vector<CaseCell> read_case_json(const std::filesystem::path& directory);

}  // namespace ringside
