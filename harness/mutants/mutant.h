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
#include "harness/communicator_decorator.h"

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

/// Registered variants: the softmax ring family, those that send lightning attention's state, of these
/// ZeCO's, and all that run on several ranks.
std::vector<const Variant*> ring_family();
std::vector<const Variant*> lasp_family();
std::vector<const Variant*> zeco_family();
std::vector<const Variant*> ulysses_family();
std::vector<const Variant*> usp_family();
std::vector<const Variant*> all_gather_kv_family();
std::vector<const Variant*> softmax_variants();
std::vector<const Variant*> lightning_variants();
std::vector<const Variant*> distributed_variants();

/// Adds such a bug in each of `variants`.
template <typename C>
void add_in_transit(Mutants& list, int number, std::string_view bug, std::string_view summary,
                    const std::vector<const Variant*>& variants) {
  for (const Variant* variant : variants) list.push_back({number, bug, summary, *variant, world_of<C>});
}

/// The variant on a device D(device, rank, size) in both passes.
template <typename D>
Variant on_device(const Variant& right) {
  Variant twin = right;
  twin.forward = [forward = right.forward](const Context& c, const Inputs& in) {
    D device(c.device, c.comm.rank(), c.comm.size());
    return forward({c.comm, device, c.problem}, in);
  };
  twin.backward = [backward = right.backward](const Context& c, const Inputs& in, const Forward& saved,
                                              const Tensor& dout) {
    D device(c.device, c.comm.rank(), c.comm.size());
    return backward({c.comm, device, c.problem}, in, saved, dout);
  };
  return twin;
}

/// Adds a bug of the device in each of `variants`.
template <typename D>
void add_on_device(Mutants& list, int number, std::string_view bug, std::string_view summary,
                   const std::vector<const Variant*>& variants) {
  for (const Variant* variant : variants) list.push_back({number, bug, summary, on_device<D>(*variant)});
}

}  // namespace ringside
