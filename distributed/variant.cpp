#include "distributed/variant.h"

#include <algorithm>

namespace ringside {
namespace {

std::vector<Variant>& list() {
  static std::vector<Variant> all;
  return all;
}

}  // namespace

Registration::Registration(const Variant& variant) {
  const auto at = std::ranges::lower_bound(list(), variant.name, {}, &Variant::name);
  list().insert(at, variant);
}

std::span<const Variant> variants() { return list(); }

const Variant* find_variant(std::string_view name) {
  const auto at = std::ranges::find(list(), name, &Variant::name);
  return at == list().end() ? nullptr : &*at;
}

}  // namespace ringside
