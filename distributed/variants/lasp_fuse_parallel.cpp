// LASP, fused and parallel over blocks (Sun et al. 2024, "Linear Attention Sequence Parallelism", the
// released lasp_fuse_parallel): the chunk is cut into blocks whose states are computed independently and
// scanned; then every block has its own state to start from. Blocks need the state that enters the chunk only
// for their outputs, so that its way along the ranks takes one addition a hop. All block states are kept for
// backward.
#include <algorithm>

#include "distributed/variant.h"
#include "distributed/variants/all.h"
#include "distributed/variants/block.h"
#include "distributed/variants/state_chain.h"

namespace ringside {
namespace {

constexpr Index kBlock = 256;

Index blocks_of(Index tokens) { return std::max<Index>(1, (tokens + kBlock - 1) / kBlock); }

/// The states of all blocks, Σ λ^… aᵀ b over the tokens before (or after) them, and the state that leaves the
/// chunk, sent on.
class ScannedStates {
 public:
  ScannedStates(const Context& context, const StateChain& chain, const Inputs& in, const Tensor& a,
                const Tensor& b, Toward toward, const std::string& what) {
    auto& [comm, device, problem] = context;
    const Index tokens = in.q.shape().tokens;
    Shape shape = state_shape(in);
    const Tensor total = device.allocate(shape, DType::fp32);
    states_.incoming = device.allocate(shape, DType::fp32);
    shape.tokens *= blocks_of(tokens);
    states_.own = device.allocate(shape, DType::fp32);
    states_.block = kBlock;

    Request arriving = chain.receive(states_.incoming, what + ": state from upstream");
    const LightningChunk chunk = own_chunk(context, in);
    device.lightning_states(a, b, chunk.slopes, chunk.documents, kBlock, toward, states_.own);
    device.lightning_scan(states_.own, chunk.slopes, chunk.documents, tokens, kBlock, toward, total);
    arriving.wait();
    if (chain.goes_on()) {
      leaving_ = chain.pass_on(states_.incoming, total, what + ": state downstream");
    }
  }

  const BlockStates& of_blocks() const { return states_; }
  void finish() { leaving_.wait(); }

 private:
  BlockStates states_;
  Request leaving_;
};

Forward forward(const Context& context, const Inputs& in) {
  auto& [comm, device, problem] = context;
  ScannedStates states(context, StateChain::left_to_right(context), in, in.k, in.v, Toward::end,
                       "lasp forward");
  const Tensor o = device.allocate(o_shape(in), in.q.dtype());
  device.lightning_forward_blocks(own_chunk(context, in), states.of_blocks(), o);
  states.finish();
  return {o, {states.of_blocks().own, states.of_blocks().incoming}};
}

Gradients backward(const Context& context, const Inputs& in, const Forward& saved, const Tensor& dout) {
  auto& [comm, device, problem] = context;
  ScannedStates dstates(context, StateChain::right_to_left(context), in, in.q, dout, Toward::start,
                        "lasp backward");
  const Gradients grad = gradients_like(device, in);
  device.lightning_backward_blocks(own_chunk(context, in), dout, {saved.saved[0], saved.saved[1], kBlock},
                                   dstates.of_blocks(), grad.dq, grad.dk, grad.dv);
  dstates.finish();
  return grad;
}

/// The states of all blocks and the one that enters the chunk, throughout. At first the total as well and, if
/// it goes on, what carry() holds; then the results as well and, if it goes on, the total, which is leaving.
PassMemory memory(const Problem& problem, DType dtype, int sp, int rank) {
  const Problem own = held_problem(problem, Layout::contiguous, sp, rank);
  const Index state = state_bytes(own);
  const auto pass = [&](bool goes_on, Index results) {
    const Index leaving = goes_on ? state : 0, carried = goes_on ? carry_bytes(problem, sp, rank) : 0;
    return (blocks_of(own.seq) + 1) * state + std::max(state + carried, leaving + bytes(results, dtype));
  };
  return {.forward = pass(rank < sp - 1, own.o_shape().size()), .backward = pass(rank > 0, qkv_size(own))};
}

}  // namespace

Variant make_lasp_fuse_parallel() {
  return {.name = "lasp_fuse_parallel",
          .op = Operator::lightning,
          .summary = "LASP, states of blocks of 256 tokens computed in parallel, scanned, and kept",
          .unsupported = serves_all,
          .forward = forward,
          .backward = backward,
          .traffic = state_chain_traffic,
          .memory = memory};
}

}  // namespace ringside
