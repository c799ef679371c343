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

bool is_of(const Variant& v, std::string_view family) { return v.name.substr(0, v.name.find('.')) == family; }
bool is_distributed(const Variant& v) { return v.name != "lightning"; }  // which runs on one rank alone
bool in_blocks(const Variant& v) { return v.op == Operator::softmax && v.name != "ulysses"; }
bool merges(const Variant& v) { return in_blocks(v) && !is_of(v, "all_gather_kv"); }
bool sends_states(const Variant& v) {
  return v.op == Operator::lightning && is_distributed(v) && v.name != "ulysses";
}

}  // namespace

std::vector<const Variant*> all_variants() {
  return select([](const Variant&) { return true; });
}
std::vector<const Variant*> softmax_variants() {
  return select([](const Variant& v) { return v.op == Operator::softmax; });
}
std::vector<const Variant*> lightning_variants() {
  return select([](const Variant& v) { return v.op == Operator::lightning; });
}
std::vector<const Variant*> distributed_variants() { return select(is_distributed); }
std::vector<const Variant*> layout_variants(Layout::Order order) {
  return select([=](const Variant& v) { return v.layout.order == order; });
}
std::vector<const Variant*> family_variants(std::string_view name) {
  return select([=](const Variant& v) { return is_of(v, name); });
}
std::vector<const Variant*> block_variants() { return select(in_blocks); }
std::vector<const Variant*> merging_variants() { return select(merges); }
std::vector<const Variant*> ring_variants() {
  return select([](const Variant& v) { return merges(v) && v.name != "balanced"; });
}
std::vector<const Variant*> exchange_variants() {
  return select([](const Variant& v) { return v.name == "ulysses" || v.name.starts_with("usp"); });
}
std::vector<const Variant*> state_variants() { return select(sends_states); }
std::vector<const Variant*> fused_state_variants() {
  return select(
      [](const Variant& v) { return sends_states(v) && v.name != "lasp_naive" && v.name != "lasp_cache"; });
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
           "in the oracle, which no decorator reaches: the include rules, recompute_dump.py (NumPy) and "
           "finite differences stand against it, and a case of zeros is MISTRUSTED"}};
}

}  // namespace ringside
