// Ring attention in its layouts: contiguous, zigzag, striped, double. The ring is that of Liu, Zaharia,
// Abbeel 2023, "Ring Attention with Blockwise Transformers for Near-Infinite Context"; zigzag is balanced;
// striped is of Brandon et al. 2023, "Striped Attention". double_ring has one ring inside a node and one of
// nodes, after Gu et al. 2024, "LoongTrain": its messages and bytes, but k and v jump to the next node in the
// inner ring's last hop, so that one block's work hides the jump; LoongTrain sends each rank's own ahead,
// behind the whole inner ring.
#include <fmt/format.h>

#include "distributed/variants/all.h"
#include "distributed/variants/ring_loop.h"

namespace ringside {
namespace {

/// In nodes of `node` ranks; 0: all of them are one.
Variant ring(const std::string& name, const std::string& summary, Layout layout, int node = 0) {
  const auto route = [node](int sp) { return Route{.stops = sp, .node = node == 0 ? sp : node}; };
  const auto on = [route, layout](const Context& c) { return Ring{c, layout, route(c.comm.size())}; };
  return {.name = name,
          .op = Operator::softmax,
          .summary = summary,
          .layout = layout,
          .unsupported = [route](const Problem&, int sp) -> std::optional<std::string> {
            const int ranks = route(sp).node;
            if (sp % ranks == 0) return std::nullopt;
            return fmt::format("{} ranks are no whole nodes of {}", sp, ranks);
          },
          .forward = [on](const Context& c, const Inputs& in) { return ring_forward(on(c), in); },
          .backward = [on](const Context& c, const Inputs& in, const Forward& saved,
                           const Tensor& dout) { return ring_backward(on(c), in, saved, dout); },
          .traffic = [route, layout](const Problem& p, DType dtype, int sp,
                                     int rank) { return ring_traffic(p, dtype, layout, route(sp), rank); },
          .memory = [route, layout](const Problem& p, DType dtype, int sp,
                                    int rank) { return ring_memory(p, dtype, layout, route(sp), rank); }};
}

}  // namespace

Variant make_ring() {
  return ring("ring", "k and v go round in P-1 hops; contiguous chunks (causal work is unbalanced)",
              Layout::contiguous);
}

Variant make_ring_zigzag() {
  return ring("ring_zigzag", "the same; rank r holds chunks r and 2P-1-r of 2P (causal work is balanced)",
              Layout::zigzag);
}

Variant make_ring_striped() {
  return ring("ring_striped", "the same; rank r holds every P-th token (causal work is nearly balanced)",
              Layout::striped);
}

Variant make_double_ring(int node) {
  return ring("double_ring",
              fmt::format("as ring_zigzag, round rings in nodes of {} ranks, then from node to node", node),
              Layout::zigzag, node);
}

}  // namespace ringside
