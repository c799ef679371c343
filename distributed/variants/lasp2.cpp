// LASP-2 (Sun et al. 2025, "LASP-2: Rethinking Sequence Parallelism for Linear Attention and Its Hybrid"):
// every rank computes the state that its own chunk brings, one all-gather brings them all everywhere, and
// each rank sums those that concern it, decayed. The gather needs nothing but the chunk's own states, so that
// the intra-chunk part, which needs no state at all, is computed while it is under way.
#include <algorithm>

#include "distributed/variant.h"
#include "distributed/variants/all.h"
#include "distributed/variants/block.h"
#include "distributed/variants/state_chain.h"

namespace ringside {
namespace {

constexpr auto no = Transpose::no;
constexpr auto yes = Transpose::yes;

/// What every chunk brings to its end or start, Σ λ^… aᵀ b, on its way to every rank.
class GatheredStates {
 public:
  GatheredStates(const Context& context, const Inputs& in, const Tensor& a, const Tensor& b, Toward toward,
                 std::string what)
      : context_(context), toward_(toward) {
    auto& [comm, device, problem] = context;
    for (int rank = 0; rank < comm.size(); ++rank) {
      states_.push_back(device.allocate(state_shape(in), DType::fp32));
    }
    const Tensor& own = states_[static_cast<std::size_t>(comm.rank())];
    const LightningChunk chunk = own_chunk(context, in);
    const Index tokens = std::max<Index>(1, in.q.shape().tokens);
    device.lightning_states(a, b, chunk.slopes, chunk.documents, tokens, toward, own);
    arriving_ = comm.all_gather(own, states_, std::move(what));
  }

  /// S = Σ_{p<r} λ^… own_p, which enters rank r's chunk, or R = Σ_{p>r} λ^… own_p, over those p whose
  /// document reaches it: [b, h, d, e] fp32. Call it once: the states that arrived are given back.
  Tensor entering() {
    auto& [comm, device, problem] = context_;
    arriving_.wait();
    Tensor state = zeros(device, states_.front().shape());
    const bool to_end = toward_ == Toward::end;
    for (int p = to_end ? 0 : comm.size() - 1; p != comm.rank(); p += to_end ? 1 : -1) {
      const Tensor& own = states_[static_cast<std::size_t>(p)];
      carry(context_, p, state, own);
      state = own;
    }
    states_.clear();
    return state;
  }

 private:
  Context context_;
  Toward toward_;
  std::vector<Tensor> states_;  // by rank
  Request arriving_;
};

Forward forward(const Context& context, const Inputs& in) {
  auto& [comm, device, problem] = context;
  const LightningChunk chunk = own_chunk(context, in);
  GatheredStates states(context, in, in.k, in.v, Toward::end, "lasp2 forward: states");
  const Tensor o = device.allocate(o_shape(in), DType::fp32);
  device.lightning_forward(chunk, zeros(device, state_shape(in)), o);
  const Tensor state = states.entering();
  const TokenSpan reached = chunk.documents.from_start({0, in.q.shape().tokens});
  device.matmul(decayed(context, in.q, decay_from_start()), no, state, no, o, true, Causal::none, reached);
  return {rounded(device, o, in.q.dtype()), {state}};
}

Gradients backward(const Context& context, const Inputs& in, const Forward& saved, const Tensor& dout) {
  auto& [comm, device, problem] = context;
  const LightningChunk chunk = own_chunk(context, in);
  GatheredStates dstates(context, in, in.q, dout, Toward::start, "lasp2 backward: states");
  const Tensor dq = device.allocate(in.q.shape(), in.q.dtype());  // whole without R
  const Tensor dk = device.allocate(in.k.shape(), DType::fp32);
  const Tensor dv = device.allocate(in.v.shape(), DType::fp32);
  device.lightning_backward(chunk, dout, saved.saved[0], zeros(device, state_shape(in)), dq, dk, dv);
  const Tensor dstate = dstates.entering();
  const Decay to_end = decay_to_end(in.q.shape().tokens);
  const TokenSpan reached = chunk.documents.to_end({0, in.q.shape().tokens});
  device.matmul(decayed(context, in.v, to_end), no, dstate, yes, dk, true, Causal::none, reached);
  device.matmul(decayed(context, in.k, to_end), no, dstate, no, dv, true, Causal::none, reached);
  return rounded(device, {dq, dk, dv}, in.q.dtype());
}

/// Both passes send their own state to every other rank.
PassTraffic traffic(const Problem& problem, DType, int sp, int) {
  const Traffic pass = {.bytes = (sp - 1) * state_bytes(problem), .collectives = sp > 1 ? 1 : 0};
  return {.forward = pass, .backward = pass};
}

/// The results, those that R or S adds to as fp32 sums, throughout; the state that enters, or while there is
/// none yet, the zeros that both the intra-chunk part and the sum begin with. Beside these there are at first
/// the states of all ranks, with what the first carry() holds if there are ranks upstream, later ones coming
/// when the zeros have gone; then one thing at a time: decayed rows over d (q's, or k's), in backward over e
/// (v's), at last the rounded results.
PassMemory memory(const Problem& problem, DType dtype, int sp, int rank) {
  const Problem own = held_problem(problem, Layout::contiguous, sp, rank);
  const Index state = state_bytes(own), over_d = 4 * own.q_shape().size(), over_e = 4 * own.o_shape().size();
  const auto pass = [&](int first, Index sums, Index decayed) {  // rank of the chain
    const Index gathered = sp * state + (first != rank ? carry_bytes(problem, sp, first) : 0);
    return 4 * sums + state + std::max({gathered, decayed, rounding_bytes(sums, dtype)});
  };
  return {
      .forward = pass(0, own.o_shape().size(), over_d),
      .backward = bytes(own.q_shape().size(), dtype) + pass(sp - 1, kv_size(own), std::max(over_d, over_e))};
}

}  // namespace

Variant make_lasp2() {
  return {.name = "lasp2",
          .op = Operator::lightning,
          .summary = "LASP-2, one all-gather of the states of all chunks",
          .unsupported = serves_all,
          .forward = forward,
          .backward = backward,
          .traffic = traffic,
          .memory = memory};
}

}  // namespace ringside
