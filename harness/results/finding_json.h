// What is wrong with a case, as JSON.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "harness/judge/run_case.h"

namespace ringside {

/// The fields of each finding, with its sentence as "text".
nlohmann::ordered_json findings_json(const CaseResult& result);
/// What came of each check that the case asked for: "outcome", and "note" if there is one.
nlohmann::ordered_json checks_json(const CaseResult& result);

/// Gives a row of an older schema the present form. Schema 2 and 1 had "failures", sentences alone, and of a
/// check "skipped: why".
void upgrade(nlohmann::ordered_json& row);

}  // namespace ringside
