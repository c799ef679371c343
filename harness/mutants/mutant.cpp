#include "harness/mutants/mutant.h"

#include <algorithm>

namespace ringside {
namespace {

template <typename Predicate>
std::vector<const Variant*> select(const Predicate& is_in) {
  std::vector<const Variant*> all;
  for (const Variant& variant : variants()) {
    if (is_in(variant)) all.push_back(&variant);
  }
  return all;
}

}  // namespace

std::vector<const Variant*> ring_family() {
  return select([](const Variant& v) { return v.name.starts_with("ring") || v.name == "double_ring.2"; });
}
std::vector<const Variant*> lasp_family() {
  return select([](const Variant& v) { return v.name.starts_with("lasp") || v.name.starts_with("zeco"); });
}
std::vector<const Variant*> zeco_family() {
  return select([](const Variant& v) { return v.name.starts_with("zeco"); });
}
std::vector<const Variant*> ulysses_family() {
  return select([](const Variant& v) { return v.name.starts_with("ulysses"); });
}
std::vector<const Variant*> usp_family() {
  return select([](const Variant& v) { return v.name.starts_with("usp"); });
}
std::vector<const Variant*> all_gather_kv_family() {
  return select([](const Variant& v) { return v.name.starts_with("all_gather_kv"); });
}
std::vector<const Variant*> softmax_variants() {
  return select([](const Variant& v) { return v.op == Operator::softmax; });
}
std::vector<const Variant*> lightning_variants() {
  return select([](const Variant& v) { return v.op == Operator::lightning; });
}
std::vector<const Variant*> distributed_variants() {
  return select([](const Variant& v) { return v.name != "lightning"; });  // which runs on one rank alone
}

std::vector<Mutant> all_mutants() {
  Mutants list;
  add_ring_bugs(list);
  add_layout_bugs(list);
  add_softmax_bugs(list);
  add_lightning_bugs(list);
  add_ulysses_bugs(list);
  add_balanced_bugs(list);
  add_packing_bugs(list);
  add_hybrid_bugs(list);
  add_message_bugs(list);
  add_result_bugs(list);
  std::ranges::stable_sort(list, {}, [](const Mutant& m) { return m.number == 0 ? 1000 : m.number; });
  return list;
}

std::vector<AbsentBug> absent_bugs() {
  return {{50, "another_layer", "a case has one layer"},
          {51, "shared_fault",
           "in the oracle, which no decorator reaches: the include rules and the second "
           "formulas stand against it, and a case of zeros is MISTRUSTED"}};
}

}  // namespace ringside
