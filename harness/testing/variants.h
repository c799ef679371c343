// Variants as parameters of tests.
#pragma once

#include <algorithm>
#include <string>

#include "distributed/variant.h"

namespace ringside {

/// "usp_2_softmax": a name that GoogleTest takes.
inline std::string test_name(const Variant& variant) {
  std::string name = variant.name + '_' + std::string(to_string(variant.op));
  std::ranges::replace(name, '.', '_');
  return name;
}

}  // namespace ringside
