// LASP, unfused (Sun et al. 2024, "Linear Attention Sequence Parallelism", algorithms 2 and 3): matrix
// products with element-wise decay between them, the chunk's own part and the incoming state's share as
// separate steps. lasp_naive and lasp_cache differ in who owns the state that backward needs again.
#include <algorithm>

#include "distributed/block.h"
#include "distributed/state_chain.h"
#include "distributed/variant.h"

namespace ringside {
namespace {

constexpr auto no = Transpose::no;
constexpr auto yes = Transpose::yes;

/// One chunk's unfused steps. Scores are materialised: [b, h, c, c] fp32.
class Chunk {
 public:
  Chunk(const Context& context, const Inputs& in)
      : device_(context.device), slopes_(context.problem.slopes), tokens_(in.q.shape().tokens), in_(in) {}

  /// scores <- a bᵀ, decayed and masked: λ^(i-j) a_i·b_j for j <= i.
  void decayed_scores(const Tensor& a, const Tensor& b, const Tensor& scores) const {
    device_.matmul(a, no, b, yes, scores, false, Causal::c);
    device_.decay_scores(scores, slopes_);
  }

  Tensor allocate_scores() const {
    return device_.allocate({in_.q.shape().batch, in_.q.shape().heads, tokens_, tokens_}, DType::fp32);
  }

  /// Rows of x (q's, or k's spread over the query heads) times their decay, in fp32.
  Tensor decayed(const Tensor& x, Decay decay) const {
    const Tensor y = device_.allocate({x.shape().batch, in_.q.shape().heads, x.shape().tokens, x.shape().dim},
                                      DType::fp32);
    device_.decay_rows(x, slopes_, decay, y);
    return y;
  }

  /// What the chunk itself adds to a state: aᵀ b.
  Tensor own_state(const Tensor& a, const Tensor& b) const {
    const Tensor state = device_.allocate(state_shape(in_), DType::fp32);
    device_.matmul(a, yes, b, no, state, false, Causal::none);
    return state;
  }

 private:
  Device& device_;
  std::span<const float> slopes_;
  Index tokens_;
  const Inputs& in_;
};

/// Returns o; state: [b, h, d, e] fp32 <- the state that enters the chunk.
Tensor forward(const Context& context, const Inputs& in, const Tensor& state) {
  auto& [comm, device, problem] = context;
  const Index tokens = in.q.shape().tokens;
  const StateChain chain = StateChain::left_to_right(context);
  Pending arriving = chain.receive(state, "lasp forward: state from the left");

  const Chunk chunk(context, in);
  const Tensor o = device.allocate(o_shape(in), DType::fp32);
  const Tensor scores = chunk.allocate_scores();
  chunk.decayed_scores(in.q, in.k, scores);
  device.matmul(scores, no, in.v, no, o, false, Causal::a);
  Tensor next_state;
  if (chain.goes_on()) next_state = chunk.own_state(chunk.decayed(in.k, decay_to_end(tokens)), in.v);

  arriving.wait();
  Pending leaving;
  if (chain.goes_on()) {
    leaving = chain.pass_on(state, next_state, tokens, "lasp forward: state to the right");
  }
  device.matmul(chunk.decayed(in.q, decay_from_start()), no, state, no, o, true, Causal::none);
  leaving.wait();
  return rounded(device, o, in.q.dtype());
}

/// state: what forward wrote.
Gradients backward(const Context& context, const Inputs& in, const Tensor& state, const Tensor& dout) {
  auto& [comm, device, problem] = context;
  const Index tokens = in.q.shape().tokens;
  const StateChain chain = StateChain::right_to_left(context);
  const Tensor dstate = device.allocate(state_shape(in), DType::fp32);
  Pending arriving = chain.receive(dstate, "lasp backward: state from the right");

  const Chunk chunk(context, in);
  const Tensor dq = device.allocate(in.q.shape(), DType::fp32);
  const Tensor dk = device.allocate(in.k.shape(), DType::fp32);
  const Tensor dv = device.allocate(in.v.shape(), DType::fp32);
  const Tensor scores = chunk.allocate_scores();
  chunk.decayed_scores(in.q, in.k, scores);
  device.matmul(scores, yes, dout, no, dv, false, Causal::a);
  chunk.decayed_scores(dout, in.v, scores);
  device.matmul(scores, no, in.k, no, dq, false, Causal::a);
  device.matmul(scores, yes, in.q, no, dk, false, Causal::a);
  device.matmul(chunk.decayed(dout, decay_from_start()), no, state, yes, dq, true, Causal::none);
  Tensor next_dstate;
  if (chain.goes_on()) next_dstate = chunk.own_state(chunk.decayed(in.q, decay_from_start()), dout);

  arriving.wait();
  Pending leaving;
  if (chain.goes_on()) {
    leaving = chain.pass_on(dstate, next_dstate, tokens, "lasp backward: state to the left");
  }
  device.matmul(chunk.decayed(in.v, decay_to_end(tokens)), no, dstate, yes, dk, true, Causal::none);
  device.matmul(chunk.decayed(in.k, decay_to_end(tokens)), no, dstate, no, dv, true, Causal::none);
  leaving.wait();
  const DType dtype = in.q.dtype();
  return {rounded(device, dq, dtype), rounded(device, dk, dtype), rounded(device, dv, dtype)};
}

/// Scores [b, h, c, c] and a decayed copy of the widest input.
double scratch_bytes(const Problem& p, int sp) {
  const auto rows = static_cast<double>(p.batch * p.heads) * static_cast<double>(p.seq) / sp;
  return 4 * rows *
         (static_cast<double>(p.seq) / sp + static_cast<double>(std::max(p.head_dim, p.value_dim)));
}

const Registration lasp_naive{
    {.name = "lasp_naive",
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
     .scratch_bytes = scratch_bytes}};

const Registration lasp_cache{
    {.name = "lasp_cache",
     .op = Operator::lightning,
     .summary = "LASP, unfused, the state kept for backward in a buffer that the caller owns",
     .unsupported = serves_all,
     .forward = [](const Context& context, const Inputs& in) -> Forward {
       return {forward(context, in, in.cache[0]), {}};
     },
     .backward = [](const Context& context, const Inputs& in, const Forward&,
                    const Tensor& dout) { return backward(context, in, in.cache[0], dout); },
     .traffic = state_chain_traffic,
     .scratch_bytes = scratch_bytes,
     .cache =
         [](const Problem& p) {
           return std::vector<Shape>{{p.batch, p.heads, p.head_dim, p.value_dim}};
         }}};

}  // namespace
}  // namespace ringside
