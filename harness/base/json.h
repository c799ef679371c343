// JSON as results have it: members in order, NaN and inf as strings.
#pragma once

#include <cmath>
#include <nlohmann/json.hpp>

namespace ringside {

/// Includes a heavy header: for the few units that read or write JSON.
using Json = nlohmann::ordered_json;

/// JSON has no NaN or infinity: they are written as strings, "nan", "inf" and "-inf".
inline Json json_number(double x) {
  if (std::isnan(x)) return "nan";
  if (std::isinf(x)) return x > 0 ? "inf" : "-inf";
  return x;
}

}  // namespace ringside
