// LASP fused, and ZeCO: states sent ahead of one pass over the chunk. LASP: Sun et al. 2024, "Linear Attention
// Sequence Parallelism". ZeCO: Chou et al. 2025, "ZeCO: Zero Communication Overhead Sequence Parallelism for
// Linear Attention"; its all-scan is the same chain, pipelined over slices of the state.
//
// One kernel walks the chunk once and does intra-chunk part, incoming state and state update together. That
// pass needs the incoming state from its first token on, so that ranks which sent the state it ends with
// would run one after the other. Here the state that leaves is computed ahead of the pass, from k and v (or q
// and do) alone: only one product and the hops of the chain come before all ranks' passes, which then run at
// once. The state travels in `slices` along d, 1 <= slices <= d, each a message, decayed, added and sent on
// when it arrives: if a whole state takes τ from rank to rank, the last of P ranks has it after
// τ + (P-2)·τ/slices.
#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "distributed/variants/all.h"
#include "distributed/variants/block.h"
#include "distributed/variants/state_chain.h"

namespace ringside {
namespace {

/// Slice i of n of a state's rows.
Run rows_of(Index head_dim, int slices, int i) {
  const Index first = i * head_dim / slices;
  return {first, 1, (i + 1) * head_dim / slices - first};
}

/// Uninitialised slices of a state of that shape, along d.
std::vector<Tensor> allocate_slices(Device& device, Shape state, int slices) {
  std::vector<Tensor> all;
  for (int i = 0; i < slices; ++i) {
    Shape slice = state;
    slice.tokens = rows_of(state.tokens, slices, i).count;
    all.push_back(device.allocate(slice, DType::fp32));
  }
  return all;
}

/// A state in slices: itself if there is one.
std::vector<Tensor> cut(Device& device, const Tensor& state, int slices) {
  if (slices == 1) return {state};
  std::vector<Tensor> all = allocate_slices(device, state.shape(), slices);
  for (int i = 0; i < slices; ++i) {
    const Tensor& slice = all[static_cast<std::size_t>(i)];
    const Run rows = rows_of(state.shape().tokens, slices, i);
    device.copy_part(state, {0, rows.start}, slice, {}, state.shape().heads, rows.count);
  }
  return all;
}

/// The inverse of cut().
Tensor joined(Device& device, const Shape& shape, const std::vector<Tensor>& slices) {
  if (slices.size() == 1) return slices.front();
  Tensor state = device.allocate(shape, DType::fp32);
  Index row = 0;
  for (const Tensor& slice : slices) {
    device.copy_part(slice, {}, state, {0, row}, shape.heads, slice.shape().tokens);
    row += slice.shape().tokens;
  }
  return state;
}

/// Receives the state that enters the chunk and passes on the one that leaves it, Σ λ^… aᵀ b being the
/// chunk's own share of that, slice by slice.
class StateAhead {
 public:
  StateAhead(const Context& context, const StateChain& chain, int slices, const Inputs& in, const Tensor& a,
             const Tensor& b, Toward toward, const std::string& what) {
    auto& [comm, device, problem] = context;
    const Shape shape = state_shape(in);
    const std::vector<Tensor> entering = allocate_slices(device, shape, slices);
    std::vector<Request> arriving;
    for (const Tensor& slice : entering)
      arriving.push_back(chain.receive(slice, what + ": state from upstream"));

    std::vector<Tensor> own;
    if (chain.goes_on()) {
      const Tensor whole = device.allocate(shape, DType::fp32);
      const LightningChunk chunk = own_chunk(context, in);
      const Index tokens = std::max<Index>(1, in.q.shape().tokens);
      device.lightning_states(a, b, chunk.slopes, chunk.documents, tokens, toward, whole);
      own = cut(device, whole, slices);
    }
    for (std::size_t i = 0; i < entering.size(); ++i) {
      arriving[i].wait();
      if (chain.goes_on()) {
        leaving_.push_back(chain.pass_on(entering[i], own[i], what + ": state downstream"));
      }
    }
    state_ = joined(device, shape, entering);
  }

  /// [b, h, d, e] fp32.
  const Tensor& entering() const { return state_; }
  void finish() {
    for (Request& slice : leaving_) slice.wait();
  }

 private:
  Tensor state_;
  std::vector<Request> leaving_;
};

Forward forward(int slices, const Context& context, const Inputs& in) {
  auto& [comm, device, problem] = context;
  StateAhead ahead(context, StateChain::left_to_right(context), slices, in, in.k, in.v, Toward::end,
                   "state chain forward");
  const Tensor state = device.allocate(state_shape(in), DType::fp32);
  device.copy(ahead.entering(), state);
  const Tensor o = device.allocate(o_shape(in), in.q.dtype());
  device.lightning_forward(own_chunk(context, in), state, o);
  ahead.finish();
  return {o, {ahead.entering()}};
}

Gradients backward(int slices, const Context& context, const Inputs& in, const Forward& saved,
                   const Tensor& dout) {
  auto& [comm, device, problem] = context;
  StateAhead ahead(context, StateChain::right_to_left(context), slices, in, in.q, dout, Toward::start,
                   "state chain backward");
  const Gradients grad = gradients_like(device, in);
  device.lightning_backward(own_chunk(context, in), dout, saved.saved[0], ahead.entering(), grad.dq, grad.dk,
                            grad.dv);
  ahead.finish();
  return grad;
}

/// A state in so many messages.
PassTraffic traffic(int slices, const Problem& problem, DType dtype, int sp, int rank) {
  PassTraffic whole = state_chain_traffic(problem, dtype, sp, rank);
  whole.forward.messages *= slices;
  whole.backward.messages *= slices;
  return whole;
}

/// During the pass over the chunk: its results, the state that entered, the one that is leaving, if any, and
/// in forward the pass's own copy of the first, which is kept. Before it instead of results and copy, which
/// is less than those in forward: the state that entered in slices and joined or, if it is whole, what
/// carry() holds for the one that leaves.
PassMemory memory(int slices, const Problem& problem, DType dtype, int sp, int rank) {
  const Problem own = held_problem(problem, Layout::contiguous, sp, rank);
  const Index state = state_bytes(own);
  const Index to_right = rank < sp - 1 ? state : 0, to_left = rank > 0 ? state : 0;
  const Index before = slices > 1 ? state : rank > 0 ? carry_bytes(problem, sp, rank) : 0;
  return {.forward = state + to_right + state + bytes(own.o_shape().size(), dtype),
          .backward = state + to_left + std::max(before, bytes(qkv_size(own), dtype))};
}

Variant fused_chain(int slices) {
  return {.name = "lasp_fuse",
          .op = Operator::lightning,
          .summary = "LASP, one kernel pass over the chunk, the state sent ahead of it",
          .unsupported = serves_all,
          .forward = std::bind_front(forward, slices),
          .backward = std::bind_front(backward, slices),
          .traffic = std::bind_front(traffic, slices),
          .memory = std::bind_front(memory, slices)};
}

}  // namespace

Variant make_lasp_fuse() { return fused_chain(1); }

Variant make_zeco(int slices) {
  Variant variant = fused_chain(slices);
  variant.summary = fmt::format("ZeCO, the state of lasp_fuse scanned along the ranks in {} slices", slices);
  variant.unsupported = [slices](const Problem& problem, int) -> std::optional<std::string> {
    if (slices <= problem.head_dim) return std::nullopt;
    return fmt::format("a state of head_dim {} cannot be cut into {} slices", problem.head_dim, slices);
  };
  return variant;
}

}  // namespace ringside
