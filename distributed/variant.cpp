#include "distributed/variant.h"

#include <algorithm>
#include <utility>

namespace ringside {
namespace {

std::vector<Variant>& list() {
  static std::vector<Variant> all;
  return all;
}

}  // namespace

Registration::Registration(const Variant& variant) {
  const auto key = [](const Variant& v) { return std::pair(v.name, v.op); };
  list().insert(std::ranges::lower_bound(list(), key(variant), {}, key), variant);
}

std::span<const Variant> variants() { return list(); }

const Variant* find_variant(std::string_view name, Operator op) {
  const auto at =
      std::ranges::find_if(list(), [&](const Variant& v) { return v.name == name && v.op == op; });
  return at == list().end() ? nullptr : &*at;
}

}  // namespace ringside
