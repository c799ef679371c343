// All-to-alls between token shards and head shards, as in DeepSpeed-Ulysses (Jacobs et al.
// 2023): some tokens of all heads, or all tokens of some heads.
#pragma once

#include <optional>
#include <string>

#include "distributed/variant.h"
#include "distributed/variants/block.h"

namespace ringside {

/// `ranks` consecutive ranks, of a layout that has them share their tokens in parts: contiguous for all ranks
/// together, or one with so many Layout::parts.
struct HeadGroup {
  const Context& context;
  Layout layout;
  int ranks = 1;
};

/// Why `ranks` cannot have the same number of query heads each; empty if they can. Kv heads are copied until
/// they can.
std::optional<std::string> cannot_deal_heads(const Problem& problem, int ranks);

/// Copies of each kv head that make their number divisible by the ranks: lcm(h_kv, ranks) / h_kv.
Index kv_copies(const Problem& problem, int ranks);

/// The problem of the heads that each of `ranks` gets: h/ranks, and h_kv·kv_copies()/ranks kv heads. All else
/// is that of the whole: seq, and the slopes of all heads.
Problem dealt_heads(Problem problem, int ranks);

// b: batch; h, h_kv: heads of the problem; h', h_kv': those of dealt_heads(); c: own tokens; n: the group's.
// All tensors are new, in the dtype of what was given. Collective over the group; all throw what
// Communicator::all_to_all does, its Request too. Demanded: cannot_deal_heads() says nothing.

/// Own tokens of all heads to all the group's tokens of this rank's heads, copies of a kv head side by side:
/// q: [b, h, c, d] -> [b, h', n, d], k: [b, h_kv, c, d] -> [b, h_kv', n, d], v likewise with e for d.
Inputs to_heads(const HeadGroup& group, const Inputs& in);
/// The same of do: [b, h, c, e] -> [b, h', n, e].
Tensor to_heads(const HeadGroup& group, const Tensor& dout);

/// The way back, of o: [b, h', n, e] -> [b, h, c, e].
Tensor to_tokens(const HeadGroup& group, const Tensor& o);
/// The same of gradients, in the shapes that to_heads() gave: -> those of `in`, which is what it was given.
/// dk and dv are summed over the copies.
Gradients to_tokens(const HeadGroup& group, const Gradients& of_heads, const Inputs& in);

/// What `rank` of `sp` sends for that in a forward (q, k, v, o) and a backward pass (do, dq, dk, dv).
/// `problem`: the whole one, stored in `dtype`.
PassTraffic exchange_traffic(const Problem& problem, DType dtype, Layout layout, int ranks, int sp, int rank);

/// The most bytes that it holds with attention of its heads in between. `attention`: what that holds beside
/// q, k, v, or do; `rows`: bytes that it keeps for backward beside q, k, v and o. The rest as above.
PassMemory exchange_memory(const Problem& problem, DType dtype, Layout layout, int ranks, int sp, int rank,
                           const PassMemory& attention, Index rows);

}  // namespace ringside
