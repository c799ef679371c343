// Softmax attention whose queries stay while keys and values visit all ranks: the one loop of ring attention,
// whatever the layout and the way.
#pragma once

#include "distributed/variant.h"
#include "distributed/variants/block.h"

namespace ringside {

/// The way of keys and values past all `stops`, in as many steps: round a ring inside a node of `node`
/// consecutive stops and, when they have been everywhere in it, on to the same place of the next node. One
/// node: a plain ring.
struct Route {
  int stops = 1;
  int node = 1;  ///< divides stops

  /// Whose keys are at `stop` in `step`. When all is done, in step `stops`, each one's are at home.
  int owner(int stop, int step) const;
  /// Where the keys of `owner` are in `step`.
  int place(int owner, int step) const;
};

/// What one rank's loop runs on.
struct Ring {
  const Context& context;
  Layout layout;  ///< of the tokens among the stops
  Route route;
  /// Consecutive ranks of a stop, the first of each on a ring of their own, the second on another, …
  int ranks = 1;
};

/// Attention of this stop's queries to all keys: o, and lse [b, h, c, 1] fp32 as the only thing saved.
Forward ring_forward(const Ring& ring, const Inputs& in);

/// Its gradients, in the inputs' dtype, from what ring_forward() gave.
Gradients ring_backward(const Ring& ring, const Inputs& in, const Forward& saved, const Tensor& dout);

/// What a rank of that stop sends. `problem`: with the heads that the ring works on.
PassTraffic ring_traffic(const Problem& problem, DType dtype, Layout layout, const Route& route, int stop);

/// What a rank of that stop holds.
PassMemory ring_memory(const Problem& problem, DType dtype, Layout layout, const Route& route, int stop);

}  // namespace ringside
