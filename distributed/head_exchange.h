// The two ways of cutting tensors among ranks between which DeepSpeed-Ulysses (Jacobs et al. 2023) goes back
// and forth: some tokens of all heads, all tokens of some heads.
#pragma once

#include <optional>
#include <string>

#include "distributed/block.h"
#include "distributed/variant.h"

namespace ringside {

/// `ranks` consecutive ranks, of a layout that has them share their tokens in parts: contiguous for all ranks
/// together, or one with so many Layout::parts.
struct HeadGroup {
  const Context& context;
  Layout layout;
  int ranks = 1;
};

/// Why `ranks` cannot have the same number of heads each; empty if they can.
std::optional<std::string> cannot_deal_heads(const Problem& problem, int ranks);

/// Copies of each kv head that make their number divisible by the ranks.
Index kv_copies(const Problem& problem, int ranks);

/// The problem of the heads that each of `ranks` gets.
Problem dealt_heads(Problem problem, int ranks);

/// q, k, v: [b, h, c, ·], own tokens of all heads -> [b, h/ranks, n, ·], all the group's tokens of this
/// rank's heads, kv heads as often as kv_copies().
Inputs to_heads(const HeadGroup& group, const Inputs& in);
/// The same of do.
Tensor to_heads(const HeadGroup& group, const Tensor& dout);

/// The way back, of o.
Tensor to_tokens(const HeadGroup& group, const Tensor& o);
/// The same of gradients; `in` is what to_heads() was given. dk and dv are summed over the copies.
Gradients to_tokens(const HeadGroup& group, const Gradients& of_heads, const Inputs& in);

/// What `rank` of `sp` sends for that.
PassTraffic exchange_traffic(const Problem& problem, DType dtype, Layout layout, int ranks, int sp, int rank);

/// What it holds with attention of its heads in between. `attention`: what that holds beside q, k, v, or do;
/// `rows`: bytes that it keeps for backward beside q, k, v and o.
PassMemory exchange_memory(const Problem& problem, DType dtype, Layout layout, int ranks, int sp, int rank,
                           const PassMemory& attention, Index rows);

}  // namespace ringside
