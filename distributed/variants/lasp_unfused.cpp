// LASP, unfused (Sun et al. 2024, "Linear Attention Sequence Parallelism", algorithms 2 and 3): matrix
// products with element-wise decay between them, the chunk's own part and the incoming state's share as
// separate steps. lasp_naive and lasp_cache differ in who owns the state that backward needs again.
#include <algorithm>
#include <functional>

#include "distributed/variant.h"
#include "distributed/variants/all.h"
#include "distributed/variants/block.h"
#include "distributed/variants/state_chain.h"

namespace ringside {
namespace {

constexpr auto no = Transpose::no;
constexpr auto yes = Transpose::yes;

/// One chunk's unfused steps. Scores are materialised: [b, h, c, c] fp32.
class Chunk {
 public:
  Chunk(const Context& context, const Inputs& in)
      : device_(context.device),
        slopes_(context.problem.slopes),
        documents_(held_documents(context.problem, context.comm.size(), context.comm.rank())),
        tokens_(in.q.shape().tokens),
        in_(in) {}

  /// a bᵀ, decayed and masked: λ^(i-j) a_i·b_j for j <= i in one document; the rest is undefined.
  Tensor decayed_scores(const Tensor& a, const Tensor& b) const {
    const Tensor scores =
        device_.allocate({in_.q.shape().batch, in_.q.shape().heads, tokens_, tokens_}, DType::fp32);
    for (const TokenSpan part : documents_.parts({0, tokens_})) {
      device_.matmul(a, no, b, yes, scores, false, Causal::c, part);
      device_.decay_scores(scores, slopes_, part);
    }
    return scores;
  }

  /// y <- those scores, or their transpose, times x; 0 for padding.
  void scores_times(const Tensor& scores, Transpose transposed, const Tensor& x, const Tensor& y) const {
    if (!documents_.padding({0, tokens_}).empty()) device_.fill(y, 0);
    for (const TokenSpan part : documents_.parts({0, tokens_}))
      device_.matmul(scores, transposed, x, no, y, false, Causal::a, part);
  }

  /// What these tokens add to a state: aᵀ b.
  Tensor own_state(const Tensor& a, const Tensor& b, TokenSpan tokens) const {
    const Tensor state = device_.allocate(state_shape(in_), DType::fp32);
    device_.matmul(a, yes, b, no, state, false, Causal::none, tokens);
    return state;
  }

  /// The chunk's tokens that S, coming from the left, reaches and that add to the R which leaves there.
  TokenSpan left() const { return documents_.from_start({0, tokens_}); }
  /// The same for R, from the right, and S.
  TokenSpan right() const { return documents_.to_end({0, tokens_}); }

 private:
  Device& device_;
  std::span<const float> slopes_;
  Documents documents_;
  Index tokens_;
  const Inputs& in_;
};

/// Returns o; state: [b, h, d, e] fp32 <- the state that enters the chunk.
Tensor forward(const Context& context, const Inputs& in, const Tensor& state) {
  auto& [comm, device, problem] = context;
  const Index tokens = in.q.shape().tokens;
  const StateChain chain = StateChain::left_to_right(context);
  Request arriving = chain.receive(state, "lasp forward: state from upstream");

  const Chunk chunk(context, in);
  const Tensor o = device.allocate(o_shape(in), DType::fp32);
  chunk.scores_times(chunk.decayed_scores(in.q, in.k), no, in.v, o);
  Tensor next_state;
  if (chain.goes_on())
    next_state = chunk.own_state(decayed(context, in.k, decay_to_end(tokens)), in.v, chunk.right());

  arriving.wait();
  Request leaving;
  if (chain.goes_on()) {
    leaving = chain.pass_on(state, next_state, "lasp forward: state downstream");
  }
  device.matmul(decayed(context, in.q, decay_from_start()), no, state, no, o, true, Causal::none,
                chunk.left());
  leaving.wait();
  return rounded(device, o, in.q.dtype());
}

/// state: what forward wrote.
Gradients backward(const Context& context, const Inputs& in, const Tensor& state, const Tensor& dout) {
  auto& [comm, device, problem] = context;
  const Index tokens = in.q.shape().tokens;
  const StateChain chain = StateChain::right_to_left(context);
  const Tensor dstate = device.allocate(state_shape(in), DType::fp32);
  Request arriving = chain.receive(dstate, "lasp backward: state from upstream");

  const Chunk chunk(context, in);
  const Tensor dq = device.allocate(in.q.shape(), DType::fp32);
  const Tensor dk = device.allocate(in.k.shape(), DType::fp32);
  const Tensor dv = device.allocate(in.v.shape(), DType::fp32);
  chunk.scores_times(chunk.decayed_scores(in.q, in.k), yes, dout, dv);
  {
    const Tensor dscores = chunk.decayed_scores(dout, in.v);
    chunk.scores_times(dscores, no, in.k, dq);
    chunk.scores_times(dscores, yes, in.q, dk);
  }
  device.matmul(decayed(context, dout, decay_from_start()), no, state, yes, dq, true, Causal::none,
                chunk.left());
  Tensor next_dstate;
  if (chain.goes_on())
    next_dstate = chunk.own_state(decayed(context, in.q, decay_from_start()), dout, chunk.left());

  arriving.wait();
  Request leaving;
  if (chain.goes_on()) {
    leaving = chain.pass_on(dstate, next_dstate, "lasp backward: state downstream");
  }
  device.matmul(decayed(context, in.v, decay_to_end(tokens)), no, dstate, yes, dk, true, Causal::none,
                chunk.right());
  device.matmul(decayed(context, in.k, decay_to_end(tokens)), no, dstate, no, dv, true, Causal::none,
                chunk.right());
  leaving.wait();
  return rounded(device, {dq, dk, dv}, in.q.dtype());
}

/// `owns_state`: the state that enters in forward is the variant's, not the caller's. The results' fp32 sums
/// stay throughout, in backward the state that enters as well. Beside them there are at first the scores;
/// when those are gone the state that leaves, if any, with one thing at a time: decayed rows over d (q's, in
/// backward also k's), in backward over e (do's, v's), what carry() holds, at last the rounded results.
PassMemory memory(bool owns_state, const Problem& problem, DType dtype, int sp, int rank) {
  const Problem own = held_problem(problem, Layout::contiguous, sp, rank);
  const Index state = state_bytes(own), scores = 4 * own.batch * own.heads * own.seq * own.seq;
  const Index over_d = 4 * own.q_shape().size(), over_e = 4 * own.o_shape().size();
  const auto pass = [&](bool goes_on, Index results, Index decayed) {
    const Index leaving = goes_on ? state : 0, carried = goes_on ? carry_bytes(problem, sp, rank) : 0;
    return 4 * results +
           std::max(scores, leaving + std::max({decayed, carried, rounding_bytes(results, dtype)}));
  };
  return {.forward = (owns_state ? state : 0) + pass(rank < sp - 1, own.o_shape().size(), over_d),
          .backward = state + pass(rank > 0, qkv_size(own), std::max(over_d, over_e))};
}

}  // namespace

Variant make_lasp_naive() {
  return {.name = "lasp_naive",
          .op = Operator::lightning,
          .summary = "LASP, unfused: scores materialised, the state passed along a chain of ranks",
          .unsupported = serves_all,
          .forward = [](const Context& context, const Inputs& in) -> Forward {
            const Tensor state = context.device.allocate(state_shape(in), DType::fp32);
            return {forward(context, in, state), {state}};
          },
          .backward = [](const Context& context, const Inputs& in, const Forward& saved,
                         const Tensor& dout) { return backward(context, in, saved.saved[0], dout); },
          .traffic = state_chain_traffic,
          .memory = std::bind_front(memory, true)};
}

Variant make_lasp_cache() {
  return {.name = "lasp_cache",
          .op = Operator::lightning,
          .summary = "LASP, unfused, the state kept for backward in a buffer that the caller owns",
          .unsupported = serves_all,
          .forward = [](const Context& context, const Inputs& in) -> Forward {
            return {forward(context, in, in.cache[0]), {}};
          },
          .backward = [](const Context& context, const Inputs& in, const Forward&,
                         const Tensor& dout) { return backward(context, in, in.cache[0], dout); },
          .traffic = state_chain_traffic,
          .memory = std::bind_front(memory, false),
          .cache = [](const Problem& p) { return std::vector<Shape>{state_shape(p)}; }};
}

}  // namespace ringside
