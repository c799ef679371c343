// What is wrong with a case, as JSON.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "harness/judge/run_case.h"

namespace ringside {

/// The fields of each finding, with its sentence as "text".
nlohmann::ordered_json findings_json(const CaseResult& result);
/// What came of each check that the case asked for: "outcome", and "note" if there is one.
nlohmann::ordered_json checks_json(const CaseResult& result);

}  // namespace ringside
