// Planted bugs of double ring and all-gather attention.
#include <algorithm>
#include <iterator>

#include "harness/mutants/mutant.h"
#include "harness/mutants/rewrite.h"
#include "harness/mutants/wrong_block.h"

namespace ringside {
namespace {

/// Parts that have arrived stand in the opposite order.
struct GatheredBackwards : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  void copy_part(const Tensor& from, Corner from_at, const Tensor& to, Corner to_at, Index heads,
                 Index tokens) override {
    if (from.shape().tokens < to.shape().tokens) to_at.token = to.shape().tokens - to_at.token - tokens;
    real_.copy_part(from, from_at, to, to_at, heads, tokens);
  }
};

/// Group g of `stride` kv heads gets the query heads of kv head g.
template <int stride>
struct StrideForgotten : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  void copy_part(const Tensor& from, Corner from_at, const Tensor& to, Corner to_at, Index heads,
                 Index tokens) override {
    const bool of_queries = heads > stride && heads < from.shape().heads;
    if (of_queries) from_at.head /= stride;
    real_.copy_part(from, from_at, to, to_at, heads, tokens);
  }
};

/// Of shares that are sent to where the sum is made: in the balanced schedule what blocks bring the keys that
/// the last rank, which has the most to do, was lent.
struct ShareLeftOut : CommunicatorDecorator {
  using CommunicatorDecorator::CommunicatorDecorator;
  void arrived(const Message& message, const std::string& what) override {
    if (!holds_dk_dv(what) || message.peer + 1 < size()) return;
    transform(message.tensor, [](float) { return 0.0F; });
  }
};

}  // namespace

void add_hybrid_bugs(Mutants& list) {
  const auto gathering = family_variants("all_gather_kv");
  auto summing = gathering;
  std::ranges::copy(family_variants("balanced"), std::back_inserter(summing));
  add_on_device<StrideForgotten<2>>(list, 22, "heads_k_stride",
                                    "kv heads 2g and 2g+1 get the query heads of kv head g",
                                    {find_variant("all_gather_kv.2", Operator::softmax)});
  add_on_device<GatheredBackwards>(list, 0, "gathered_backwards",
                                   "gathered tokens are in reverse order of ranks", gathering);
  add_in_transit<ShareLeftOut>(list, 10, "share_left_out", "the last rank's share of dk, dv is not added",
                               summing);
  add_on_device<MaskByStep>(list, 0, "mask_by_step",
                            "what is seen is told from the step, not from whose keys it is",
                            family_variants("double_ring"));
}

}  // namespace ringside
