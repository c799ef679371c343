// The list of all variants, and finding one in it.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <deque>
#include <mutex>
#include <utility>

#include "distributed/variants/all.h"

namespace ringside {
namespace {

std::pair<std::string_view, Operator> key(const Variant& v) { return {v.name, v.op}; }

Variant member(const Family& family, int n) {
  Variant variant = family.make(n);
  variant.name = fmt::format("{}.{}", family.name, n);
  return variant;
}

struct Registry {
  std::vector<Family> families = {
      {"all_gather_kv", "k and v of N kv heads are gathered at a time", make_all_gather_kv, {1, 2}},
      {"double_ring", "a double ring in nodes of N ranks", make_double_ring, {2}},
      {"usp",
       "all-to-alls in groups of N ranks, a ring of the groups on contiguous chunks",
       make_usp,
       {2, 4}},
      {"usp_striped", "the same on striped tokens", make_usp_striped, {2}},
      {"usp_zigzag", "the same on zigzag chunks", make_usp_zigzag, {2}},
      {"zeco", "N slices along head_dim that the state is sent in", make_zeco, {4}},  // zeco.1 is lasp_fuse
  };
  std::vector<Variant> listed = {make_balanced(),
                                 make_lasp2(),
                                 make_lasp_cache(),
                                 make_lasp_fuse(),
                                 make_lasp_fuse_parallel(),
                                 make_lasp_naive(),
                                 make_lightning(),
                                 make_ring(),
                                 make_ring_striped(),
                                 make_ring_zigzag(),
                                 make_ulysses(Operator::softmax),
                                 make_ulysses(Operator::lightning)};
  std::mutex mutex;            // of what follows
  std::deque<Variant> others;  // of families, made when they were first asked for

  Registry() {
    for (const Family& family : families) {
      for (const int n : family.listed) listed.push_back(member(family, n));
    }
    std::ranges::sort(listed, {}, key);
  }
};

Registry& registry() {
  static Registry all;
  return all;
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

void add_variant(Variant variant) {
  auto& list = registry().listed;
  list.insert(std::ranges::lower_bound(list, key(variant), {}, key), std::move(variant));
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
