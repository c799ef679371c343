// Planted bugs: wrong twins of the variants, which a sweep must turn red.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "distributed/variant.h"
#include "harness/run/communicator_decorator.h"
#include "harness/run/device_decorator.h"

namespace ringside {

/// One bug in one variant.
struct Mutant {
  int number = 0;        ///< the bug's, 0 if it has none; a bug may have several twins, of several variants
  std::string_view bug;  ///< its name, one word
  std::string_view summary;  ///< one line
  Variant twin;              ///< the variant, wrong
  /// What the world of each rank becomes, if the bug is in transit; null: itself.
  std::function<std::unique_ptr<Communicator>(Communicator& world)> world{};
  bool needs_repeat = false;  ///< shows only when run again
  /// Not empty: it must end the run, as an error that holds this text. No other error is of any mutant's
  /// doing.
  std::string_view ends_with{};
  int deadline_s = 60;  ///< of its runs: short where it must be waited for
};

/// A bug that no variant of this build can have, and why.
struct AbsentBug {
  int number = 0;
  std::string_view bug, why;
};

/// All of this build, by number; those without one last.
std::vector<Mutant> all_mutants();
std::vector<AbsentBug> absent_bugs();

/// What the list of mutants is put together from, a file each.
using Mutants = std::vector<Mutant>;
void add_ring_bugs(Mutants& list);
void add_layout_bugs(Mutants& list);
void add_softmax_bugs(Mutants& list);
void add_lightning_bugs(Mutants& list);
void add_ulysses_bugs(Mutants& list);
void add_balanced_bugs(Mutants& list);
void add_packing_bugs(Mutants& list);
void add_hybrid_bugs(Mutants& list);
void add_message_bugs(Mutants& list);
void add_result_bugs(Mutants& list);

// --- what those files have in common

/// Registered variants by the property that decides whether a bug applies. Where no member of Variant tells
/// it, those without it are left out by name: a new variant gets every bug that it is not kept from.
std::vector<const Variant*> all_variants();
std::vector<const Variant*> softmax_variants();
std::vector<const Variant*> lightning_variants();
std::vector<const Variant*> distributed_variants();  ///< on several ranks
std::vector<const Variant*> layout_variants(Layout::Order order);
std::vector<const Variant*> family_variants(std::string_view name);  ///< "usp": usp.2, usp.4; or one variant

/// Softmax attention in blocks, of some keys or some heads at a time; of these, those that merge what blocks
/// of some keys bring; of these, those that run ring_loop.h.
std::vector<const Variant*> block_variants();
std::vector<const Variant*> merging_variants();
std::vector<const Variant*> ring_variants();

/// All tokens of some heads, and back: head_exchange.h. And those that send lightning attention's state; of
/// these, those that compute it in the device's fused operations.
std::vector<const Variant*> exchange_variants();
std::vector<const Variant*> state_variants();
std::vector<const Variant*> fused_state_variants();

/// Adds such a bug in each of `variants`.
template <typename C>
void add_in_transit(Mutants& list, int number, std::string_view bug, std::string_view summary,
                    const std::vector<const Variant*>& variants) {
  for (const Variant* variant : variants) list.push_back({number, bug, summary, *variant, world_of<C>});
}

/// Adds a bug in each of `variants`: its twin is make(variant).
template <typename Make>
void add_twins(Mutants& list, int number, std::string_view bug, std::string_view summary,
               const std::vector<const Variant*>& variants, const Make& make) {
  for (const Variant* variant : variants) list.push_back({number, bug, summary, make(*variant)});
}

/// Adds a bug of the device in each of `variants`.
template <typename D>
void add_on_device(Mutants& list, int number, std::string_view bug, std::string_view summary,
                   const std::vector<const Variant*>& variants) {
  add_twins(list, number, bug, summary, variants, [](const Variant& right) { return on_device<D>(right); });
}

}  // namespace ringside
