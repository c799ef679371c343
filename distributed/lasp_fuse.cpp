// LASP, fused (Sun et al. 2024, "Linear Attention Sequence Parallelism"): one kernel walks the chunk once and
// does intra-chunk part, incoming state and state update together. That pass needs the incoming state from
// its first token on, so that ranks which sent the state it ends with would run one after the other. Here the
// state that leaves is computed ahead of the pass, from k and v (or q and do) alone: only one product and the
// hops of the chain come before all ranks' passes, which then run at once.
#include <algorithm>

#include "distributed/block.h"
#include "distributed/state_chain.h"
#include "distributed/variant.h"

namespace ringside {
namespace {

/// Receives the state that enters the chunk and passes on the one that leaves it, Σ λ^… aᵀ b being the
/// chunk's own share of that.
class StateAhead {
 public:
  StateAhead(const Context& context, const StateChain& chain, const Inputs& in, const Tensor& a,
             const Tensor& b, Toward toward, const std::string& what)
      : state_(context.device.allocate(state_shape(in), DType::fp32)) {
    Pending arriving = chain.receive(state_, what + ": state from upstream");
    const Index tokens = in.q.shape().tokens;
    Tensor own;
    if (chain.goes_on()) {
      own = context.device.allocate(state_shape(in), DType::fp32);
      const LightningChunk chunk = own_chunk(context, in);
      context.device.lightning_states(a, b, chunk.slopes, chunk.documents, std::max<Index>(1, tokens), toward,
                                      own);
    }
    arriving.wait();
    if (chain.goes_on()) leaving_ = chain.pass_on(state_, own, tokens, what + ": state downstream");
  }

  /// [b, h, d, e] fp32.
  const Tensor& entering() const { return state_; }
  void finish() { leaving_.wait(); }

 private:
  Tensor state_;
  Pending leaving_;
};

Forward forward(const Context& context, const Inputs& in) {
  auto& [comm, device, problem] = context;
  StateAhead ahead(context, StateChain::left_to_right(context), in, in.k, in.v, Toward::end, "lasp forward");
  const Tensor state = device.allocate(state_shape(in), DType::fp32);
  device.copy(ahead.entering(), state);
  const Tensor o = device.allocate(o_shape(in), in.q.dtype());
  device.lightning_forward(own_chunk(context, in), state, o);
  ahead.finish();
  return {o, {ahead.entering()}};
}

Gradients backward(const Context& context, const Inputs& in, const Forward& saved, const Tensor& dout) {
  auto& [comm, device, problem] = context;
  StateAhead ahead(context, StateChain::right_to_left(context), in, in.q, dout, Toward::start,
                   "lasp backward");
  const Gradients grad = gradients_like(device, in);
  device.lightning_backward(own_chunk(context, in), dout, saved.saved[0], ahead.entering(), grad.dq, grad.dk,
                            grad.dv);
  ahead.finish();
  return grad;
}

/// During the pass over the chunk: its results, the state that entered, the one that is leaving, if any, and
/// in forward the pass's own copy of the first, which is kept. Before it, while the state that leaves is
/// made: its carried part instead of results and copy, less than those in forward.
PassMemory memory(const Problem& problem, DType dtype, int sp, int rank) {
  const Problem own = held_problem(problem, Layout::contiguous, sp, rank);
  const Index state = state_bytes(own);
  const Index to_right = rank < sp - 1 ? state : 0, to_left = rank > 0 ? state : 0;
  return {.forward = state + to_right + state + bytes(own.o_shape().size(), dtype),
          .backward = state + to_left + std::max(to_left, bytes(qkv_size(own), dtype))};
}

const Registration lasp_fuse{{.name = "lasp_fuse",
                              .op = Operator::lightning,
                              .summary = "LASP, one kernel pass over the chunk, the state sent ahead of it",
                              .unsupported = serves_all,
                              .forward = forward,
                              .backward = backward,
                              .traffic = state_chain_traffic,
                              .memory = memory}};

}  // namespace
}  // namespace ringside
