#include "distributed/variant.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <deque>
#include <mutex>
#include <utility>

namespace ringside {
namespace {

struct Registry {
  std::vector<Variant> listed;
  std::vector<Family> families;
  std::mutex mutex;            // of what follows
  std::deque<Variant> others;  // of families, made when they were first asked for
};

Registry& registry() {
  static Registry all;
  return all;
}

Variant member(const Family& family, int n) {
  Variant variant = family.make(n);
  variant.name = fmt::format("{}.{}", family.name, n);
  return variant;
}

template <typename List>
const Variant* find_in(const List& list, std::string_view name, Operator op) {
  const auto at = std::ranges::find_if(list, [&](const Variant& v) { return v.name == name && v.op == op; });
  return at == list.end() ? nullptr : &*at;
}

/// The N of "family.N"; 0 if that is not how the name is written.
int number_in(std::string_view name, std::string_view family) {
  if (!name.starts_with(family) || !name.substr(family.size()).starts_with('.')) return 0;
  const std::string_view digits = name.substr(family.size() + 1);
  int n = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), n);
  const bool whole = error == std::errc{} && end == digits.data() + digits.size();
  return whole && n >= 1 && digits.front() != '0' ? n : 0;
}

}  // namespace

Registration::Registration(const Variant& variant) {
  const auto key = [](const Variant& v) { return std::pair(v.name, v.op); };
  auto& list = registry().listed;
  list.insert(std::ranges::lower_bound(list, key(variant), {}, key), variant);
}

Registration::Registration(const Family& family, std::initializer_list<int> listed) {
  auto& list = registry().families;
  list.insert(std::ranges::lower_bound(list, family.name, {}, &Family::name), family);
  for (const int n : listed) Registration{member(family, n)};
}

std::span<const Variant> variants() { return registry().listed; }

std::span<const Family> families() { return registry().families; }

const Variant* find_variant(std::string_view name, Operator op) {
  Registry& all = registry();
  if (const Variant* listed = find_in(all.listed, name, op)) return listed;
  const std::lock_guard lock(all.mutex);
  if (const Variant* known = find_in(all.others, name, op)) return known;
  for (const Family& family : all.families) {
    const int n = number_in(name, family.name);
    if (n == 0) continue;
    if (Variant made = member(family, n); made.op == op) return &all.others.emplace_back(std::move(made));
  }
  return nullptr;
}

}  // namespace ringside
