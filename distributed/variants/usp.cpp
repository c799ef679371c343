// Unified sequence parallelism (Fang, Zhao 2024, "USP: A Unified Sequence Parallelism Approach for Long
// Context Generative AI"): all-to-alls in groups of U ranks, which share what one rank of the P/U-way ring
// would hold; the ring goes round the groups, with each rank's heads.
#include <fmt/format.h>

#include "distributed/variants/all.h"
#include "distributed/variants/head_exchange.h"
#include "distributed/variants/ring_loop.h"

namespace ringside {
namespace {

template <Layout::Order order>
Variant usp(int ranks) {
  static constexpr Layout kRingLayout = {order};
  const Layout layout = {order, ranks};
  const auto route = [ranks](int sp) { return Route{.stops = sp / ranks, .node = sp / ranks}; };
  const auto ring = [ranks, route](const Context& c) {
    return Ring{c, kRingLayout, route(c.comm.size()), ranks};
  };
  return {
      .name = "usp",
      .op = Operator::softmax,
      .summary =
          fmt::format("Ulysses in groups of {} ranks, ring of the groups, {}", ranks, to_string(kRingLayout)),
      .layout = layout,
      .unsupported = [ranks](const Problem& problem, int sp) -> std::optional<std::string> {
        if (sp % ranks != 0) return fmt::format("{} ranks are no whole groups of {}", sp, ranks);
        return cannot_deal_heads(problem, ranks);
      },
      .forward =
          [=](const Context& context, const Inputs& in) {
            const HeadGroup group = {context, layout, ranks};
            const Inputs mine = to_heads(group, in);
            const Forward ringed = ring_forward(ring(context), mine);
            return Forward{to_tokens(group, ringed.o), {mine.q, mine.k, mine.v, ringed.o, ringed.saved[0]}};
          },
      .backward =
          [=](const Context& context, const Inputs& in, const Forward& saved, const Tensor& dout) {
            const HeadGroup group = {context, layout, ranks};
            const Inputs mine = {saved.saved[0], saved.saved[1], saved.saved[2]};
            const Forward ringed = {saved.saved[3], {saved.saved[4]}};
            const Gradients of_heads = ring_backward(ring(context), mine, ringed, to_heads(group, dout));
            return to_tokens(group, of_heads, in);
          },
      .traffic =
          [=](const Problem& problem, DType dtype, int sp, int rank) {
            PassTraffic sent = exchange_traffic(problem, dtype, layout, ranks, sp, rank);
            const PassTraffic ringed =
                ring_traffic(dealt_heads(problem, ranks), dtype, kRingLayout, route(sp), rank / ranks);
            sent.forward += ringed.forward;
            sent.backward += ringed.backward;
            return sent;
          },
      .memory =
          [=](const Problem& problem, DType dtype, int sp, int rank) {
            const Problem mine = dealt_heads(problem, ranks);
            const Problem held = held_problem(mine, kRingLayout, sp / ranks, rank / ranks);
            return exchange_memory(problem, dtype, layout, ranks, sp, rank,
                                   ring_memory(mine, dtype, kRingLayout, route(sp), rank / ranks),
                                   4 * held.batch * held.heads * held.seq);
          },
      .rounds_shares = [ranks](const Problem& problem, int) { return kv_copies(problem, ranks) > 1; }};
}

}  // namespace

Variant make_usp(int ranks) { return usp<Layout::Order::contiguous>(ranks); }
Variant make_usp_zigzag(int ranks) { return usp<Layout::Order::zigzag>(ranks); }
Variant make_usp_striped(int ranks) { return usp<Layout::Order::striped>(ranks); }

}  // namespace ringside
