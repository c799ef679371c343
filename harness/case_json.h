// A case as JSON. Includes a heavy header: for the few units that write JSON.
#pragma once

#include <nlohmann/json.hpp>

#include "harness/case.h"

namespace ringside {

/// Every column by its name, numbers as numbers, booleans as booleans; decay is "alibi" or the slope.
nlohmann::ordered_json case_json(const Case& c);

}  // namespace ringside
