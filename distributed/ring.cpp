// Ring attention (Liu, Zaharia, Abbeel 2023, "Ring Attention with Blockwise Transformers for Near-Infinite
// Context"): queries stay, keys and values go round. One loop for every layout: what a query sees follows
// from positions.
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "distributed/block.h"
#include "distributed/variant.h"

namespace ringside {
namespace {

/// A k and a v (or their gradients) on their way round the ring, P ranks to the right in P hops.
class KvRing {
 public:
  KvRing(Communicator& comm, Tensor own_k, Tensor own_v)
      : k(std::move(own_k)), v(std::move(own_v)), comm_(comm) {}

  Tensor k, v;  ///< what is here now

  /// Starts sending what is here to the right and receiving `tokens` tokens from the left.
  void start_hop(Index tokens, std::string what) {
    next_k_ = like(k, tokens);
    next_v_ = like(v, tokens);
    const int right = right_of(comm_), left = left_of(comm_);
    hop_ = comm_.exchange({{right, k}, {right, v}}, {{left, next_k_}, {left, next_v_}}, std::move(what));
  }

  /// Completes the hop: k and v are now the left neighbour's.
  void finish_hop() {
    hop_.wait();
    k = std::move(next_k_);
    v = std::move(next_v_);
  }

 private:
  static Tensor like(const Tensor& x, Index tokens) {
    Shape shape = x.shape();
    shape.tokens = tokens;
    return x.device().allocate(shape, x.dtype());
  }

  Communicator& comm_;
  Tensor next_k_, next_v_;
  Pending hop_;
};

/// Whose k and v are at `rank` in `step`: those of rank (rank - step) mod P.
int owner(int rank, int step, int size) { return ((rank - step) % size + size) % size; }

/// What the local queries see of the keys that `owner` holds.
template <Layout layout>
SoftmaxBlock block_of(const Context& context, const Tensor& q, const KvRing& kv, int owner) {
  const int size = context.comm.size();
  return softmax_block(context.problem, q, kv.k, kv.v,
                       positions(layout, context.problem, size, context.comm.rank()),
                       positions(layout, context.problem, size, owner));
}

template <Layout layout>
Index tokens_of(const Context& context, int rank) {
  return count(positions(layout, context.problem, context.comm.size(), rank));
}

/// (o, lse) <- (o, lse) ⊕ attention of the local queries over all ranks' keys. o: [b, h, c, e], lse: [b, h,
/// c, 1], fp32.
template <Layout layout>
void attend(const Context& context, const Inputs& in, const Tensor& o, const Tensor& lse) {
  auto& [comm, device, problem] = context;
  const int size = comm.size(), rank = comm.rank();
  const Tensor block_o = device.allocate(o.shape(), DType::fp32);
  const Tensor block_lse = device.allocate(lse.shape(), DType::fp32);

  KvRing kv(comm, in.k, in.v);
  for (int step = 0; step < size; ++step) {
    const bool last = step + 1 == size;
    if (!last) {
      kv.start_hop(tokens_of<layout>(context, owner(rank, step + 1, size)),
                   fmt::format("ring forward, step {}: k, v", step));
    }
    if (const SoftmaxBlock block = block_of<layout>(context, in.q, kv, owner(rank, step, size));
        !sees_nothing(block)) {
      device.softmax_forward(block, block_o, block_lse);
      device.softmax_merge(block_o, block_lse, o, lse);
    }
    if (!last) kv.finish_hop();
  }
}

template <Layout layout>
Forward forward(const Context& context, const Inputs& in) {
  Device& device = context.device;
  const Shape rows = {in.q.shape().batch, in.q.shape().heads, in.q.shape().tokens, 1};
  const Tensor o = zeros(device, o_shape(in));
  const Tensor lse = filled(device, rows, DType::fp32, -std::numeric_limits<float>::infinity());
  attend<layout>(context, in, o, lse);
  return {rounded(device, o, in.q.dtype()), {lse}};
}

/// Gradients of the local tokens in fp32.
template <Layout layout>
Gradients gradient_sums(const Context& context, const Inputs& in, const Forward& saved, const Tensor& dout) {
  auto& [comm, device, problem] = context;
  const int size = comm.size(), rank = comm.rank();
  const Tensor& lse = saved.saved[0];
  const Tensor delta = device.allocate(lse.shape(), DType::fp32);
  device.softmax_delta(saved.o, dout, delta);
  const Tensor dq = zeros(device, in.q.shape());

  // dk and dv of the keys that are here travel with them, one hop behind, and end at home after P hops.
  KvRing kv(comm, in.k, in.v);
  KvRing grad(comm, zeros(device, in.k.shape()), zeros(device, in.v.shape()));
  for (int step = 0; step < size; ++step) {
    const bool last = step + 1 == size;
    const Index next_tokens = tokens_of<layout>(context, owner(rank, step + 1, size));
    if (!last) kv.start_hop(next_tokens, fmt::format("ring backward, step {}: k, v", step));
    const SoftmaxBlock block = block_of<layout>(context, in.q, kv, owner(rank, step, size));
    const bool work = !sees_nothing(block);
    const Tensor block_dk = step == 0 ? grad.k : zeros(device, kv.k.shape());
    const Tensor block_dv = step == 0 ? grad.v : zeros(device, kv.v.shape());
    if (work) device.softmax_backward(block, dout, lse, delta, dq, block_dk, block_dv);
    if (step > 0) grad.finish_hop();
    if (step > 0 && work) {
      device.add(block_dk, grad.k);
      device.add(block_dv, grad.v);
    }
    device.synchronize();
    if (size > 1) grad.start_hop(next_tokens, fmt::format("ring backward, step {}: dk, dv", step));
    if (!last) kv.finish_hop();
  }
  if (size > 1) grad.finish_hop();
  return {dq, grad.k, grad.v};
}

template <Layout layout>
Gradients backward(const Context& context, const Inputs& in, const Forward& saved, const Tensor& dout) {
  return rounded(context.device, gradient_sums<layout>(context, in, saved, dout), in.q.dtype());
}

/// Forward passes on the k, v of every rank but the right neighbour's; backward does so again and moves dk,
/// dv, in fp32, of all of them.
template <Layout layout>
PassTraffic traffic(const Problem& problem, DType dtype, int sp, int rank) {
  if (sp == 1) return {};
  const Index token = problem.batch * problem.kv_heads * (problem.head_dim + problem.value_dim);
  const Index right = count(positions(layout, problem, sp, (rank + 1) % sp));
  const Index kv_bytes = (problem.seq - right) * token * static_cast<Index>(size_of(dtype));
  const Index grad_bytes = problem.seq * token * 4;
  return {.forward = {.bytes = kv_bytes, .messages = 2 * (sp - 1)},
          .backward = {.bytes = kv_bytes + grad_bytes, .messages = 2 * (sp - 1) + 2 * sp}};
}

/// Forward: o and lse, those of a block, and at the worst step the k, v that are here (the own ones are the
/// caller's) and those that arrive. o is rounded when all but it and lse are gone.
/// Backward: dq and delta, and at the worst step the same k, v; of dk, dv the block's share and, while that
/// is made, the sum that it will be added to, arriving, with the one that is leaving; or, when it has been
/// added, that sum, leaving, with the next one that arrives. The first step's share is the sum itself. At the
/// end the fp32 sums and the rounded gradients.
template <Layout layout>
PassMemory memory(const Problem& problem, DType dtype, int sp, int rank) {
  const Problem own = held_problem(problem, layout, sp, rank);
  const Index o = own.o_shape().size(), rows = own.batch * own.heads * own.seq, dq = own.q_shape().size();
  const auto kv_at = [&](int step) {  // elements of the k, v that are here then
    return kv_size(held_problem(problem, layout, sp, owner(rank, step, sp)));
  };
  Index forward_step = 0, backward_step = 0;
  for (int step = 0; step < sp; ++step) {
    const Index here = kv_at(step), next = sp > 1 ? kv_at(step + 1) : 0;
    const Index kv = bytes((step > 0 ? here : 0) + (step + 1 < sp ? next : 0), dtype);
    const Index grad = step == 0 ? here + next : here + here + std::max(kv_at(step - 1), next);
    forward_step = std::max(forward_step, kv);
    backward_step = std::max(backward_step, kv + 4 * grad);
  }
  const Index sums = qkv_size(own);
  return {.forward = 2 * 4 * (o + rows) + forward_step,
          .backward = std::max(4 * (dq + rows) + backward_step, 4 * sums + rounding_bytes(sums, dtype))};
}

template <Layout layout>
Variant ring(const std::string& name, const std::string& summary) {
  return {.name = name,
          .op = Operator::softmax,
          .summary = summary,
          .layout = layout,
          .unsupported = serves_all,
          .forward = forward<layout>,
          .backward = backward<layout>,
          .traffic = traffic<layout>,
          .memory = memory<layout>};
}

const Registration contiguous{ring<Layout::contiguous>(
    "ring", "k and v go round in P-1 hops; contiguous chunks (causal work is unbalanced)")};
const Registration zigzag{ring<Layout::zigzag>(
    "ring_zigzag", "the same; rank r holds chunks r and 2P-1-r of 2P (causal work is balanced)")};
const Registration striped{ring<Layout::striped>(
    "ring_striped", "the same; rank r holds every P-th token (causal work is nearly balanced)")};

}  // namespace
}  // namespace ringside
