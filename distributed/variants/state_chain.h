// The way of lightning attention's state along the ranks: the only thing that LASP's variants send.
#pragma once

#include "distributed/variant.h"
#include "distributed/variants/block.h"

namespace ringside {

/// Whether a state that enters the chunk which `rank` holds leaves it: no document begins or ends in it.
inline bool carries(const Problem& problem, int sp, int rank) {
  return held_documents(problem, sp, rank).across({0, held_run(problem, sp, rank).count});
}

/// own <- λ^C incoming + own: from the state that enters the chunk of C tokens that `rank` holds, and what
/// the chunk itself brings, to what leaves it. That is own alone unless the chunk carries().
inline void carry(const Context& context, int rank, const Tensor& incoming, const Tensor& own) {
  auto& [comm, device, problem] = context;
  if (!carries(problem, comm.size(), rank)) return;
  const Index tokens = held_run(problem, comm.size(), rank).count;
  const Tensor carried = device.allocate(own.shape(), DType::fp32);
  device.decay_rows(incoming, problem.slopes, decay_across(tokens), carried);
  device.add(carried, own);
}

/// What it holds meanwhile: the carried part, if there is one.
inline Index carry_bytes(const Problem& problem, int sp, int rank) {
  return carries(problem, sp, rank) ? state_bytes(problem) : 0;
}

/// A chain of ranks, one direction: from the neighbour upstream, if any, to the one downstream, if any.
class StateChain {
 public:
  static StateChain left_to_right(const Context& c) { return {c, c.comm.rank() - 1, c.comm.rank() + 1}; }
  static StateChain right_to_left(const Context& c) { return {c, c.comm.rank() + 1, c.comm.rank() - 1}; }

  /// Starts receiving into `state`; the first rank of the chain has no upstream and gets zeros at once.
  Request receive(const Tensor& state, std::string what) const {
    if (exists(upstream_)) return context_.comm.exchange({}, {{upstream_, state}}, std::move(what));
    context_.device.fill(state, 0);
    return {};
  }

  /// Whether a rank is waiting for the state that leaves this one.
  bool goes_on() const { return exists(downstream_); }

  /// own <- the state that leaves the chunk, made of `incoming` and what the chunk itself brings (carry()),
  /// or of a slice of each, and starts sending it. Not on the last rank, from which none leaves.
  Request pass_on(const Tensor& incoming, const Tensor& own, std::string what) const {
    carry(context_, context_.comm.rank(), incoming, own);
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
