// The way of lightning attention's state along the ranks: the only thing that LASP's variants send.
#pragma once

#include "distributed/block.h"
#include "distributed/variant.h"

namespace ringside {

/// own <- λ^C incoming + own: from what enters a chunk of C `tokens`, and what the chunk itself brings, to
/// what leaves it.
inline void carry(const Context& context, const Tensor& incoming, Index tokens, const Tensor& own) {
  const Tensor carried = context.device.allocate(own.shape(), DType::fp32);
  context.device.decay_rows(incoming, context.problem.slopes, decay_across(tokens), carried);
  context.device.add(carried, own);
}

/// A chain of ranks, one direction: from the neighbour upstream, if any, to the one downstream, if any.
class StateChain {
 public:
  static StateChain left_to_right(const Context& c) { return {c, c.comm.rank() - 1, c.comm.rank() + 1}; }
  static StateChain right_to_left(const Context& c) { return {c, c.comm.rank() + 1, c.comm.rank() - 1}; }

  /// Starts receiving into `state`; the first rank of the chain has no upstream and gets zeros at once.
  Pending receive(const Tensor& state, std::string what) const {
    if (exists(upstream_)) return context_.comm.exchange({}, {{upstream_, state}}, std::move(what));
    context_.device.fill(state, 0);
    return {};
  }

  /// Whether a rank is waiting for the state that leaves this one.
  bool goes_on() const { return exists(downstream_); }

  /// own <- λ^C incoming + own, the state that leaves a chunk of C `tokens`, and starts sending it. Not on
  /// the last rank, from which none leaves.
  Pending pass_on(const Tensor& incoming, const Tensor& own, Index tokens, std::string what) const {
    carry(context_, incoming, tokens, own);
    context_.device.synchronize();
    return context_.comm.exchange({{downstream_, own}}, {}, std::move(what));
  }

 private:
  StateChain(const Context& context, int upstream, int downstream)
      : context_(context), upstream_(upstream), downstream_(downstream) {}
  bool exists(int rank) const { return rank >= 0 && rank < context_.comm.size(); }

  Context context_;
  int upstream_, downstream_;
};

/// One fp32 state [b, h, d, e] to the right in forward, one to the left in backward, whatever the dtype.
inline PassTraffic state_chain_traffic(const Problem& problem, DType, int sp, int rank) {
  const Traffic one = {.bytes = state_bytes(problem), .messages = 1};
  return {.forward = rank < sp - 1 ? one : Traffic{}, .backward = rank > 0 ? one : Traffic{}};
}

}  // namespace ringside
