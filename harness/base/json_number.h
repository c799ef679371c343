// A figure as JSON. Includes a heavy header: for the few units that write JSON.
#pragma once

#include <cmath>
#include <nlohmann/json.hpp>

namespace ringside {

/// JSON has no NaN or infinity: they are written as strings, "nan", "inf" and "-inf".
inline nlohmann::ordered_json json_number(double x) {
  if (std::isnan(x)) return "nan";
  if (std::isinf(x)) return x > 0 ? "inf" : "-inf";
  return x;
}

}  // namespace ringside
