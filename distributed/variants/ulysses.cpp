// DeepSpeed-Ulysses (Jacobs et al. 2023): all-to-alls turn a rank's tokens of all heads into all tokens of
// its heads, and back; between them attention is that of one rank. Serves both operators.
#include <algorithm>

#include "distributed/variants/all.h"
#include "distributed/variants/head_exchange.h"

namespace ringside {
namespace {

HeadGroup all_ranks(const Context& context) {
  return {.context = context, .layout = Layout::contiguous, .ranks = context.comm.size()};
}

/// Attention of all tokens of this rank's heads.
SoftmaxBlock block_of(const Context& context, const Inputs& mine) {
  const Positions all = {{0, 1, context.problem.seq}};
  return softmax_block(context.problem, mine.q, mine.k, mine.v, all, all);
}

LightningChunk chunk_of(const Context& context, const Inputs& mine) {
  const auto heads = static_cast<std::size_t>(mine.q.shape().heads);
  const auto rank = static_cast<std::size_t>(context.comm.rank());
  return {mine.q, mine.k, mine.v, std::span(context.problem.slopes).subspan(rank * heads, heads),
          documents_of(context.problem, {0, 1, context.problem.seq})};
}

template <Operator op>
Forward forward(const Context& context, const Inputs& in) {
  Device& device = context.device;
  const HeadGroup group = all_ranks(context);
  const Inputs mine = to_heads(group, in);

  std::vector<Tensor> saved = {mine.q, mine.k, mine.v};
  Tensor o;
  if constexpr (op == Operator::softmax) {
    const Shape shape = o_shape(mine);
    const Tensor sum = device.allocate(shape, DType::fp32);
    const Tensor lse = device.allocate({shape.batch, shape.heads, shape.tokens, 1}, DType::fp32);
    device.softmax_forward(block_of(context, mine), sum, lse);
    o = rounded(device, sum, in.q.dtype());
    saved.insert(saved.end(), {o, lse});
  } else {
    o = device.allocate(o_shape(mine), in.q.dtype());
    device.lightning_forward(chunk_of(context, mine), zeros(device, state_shape(mine)), o);
  }
  return {to_tokens(group, o), std::move(saved)};
}

/// Gradients of all tokens of this rank's heads, in the storage dtype.
template <Operator op>
Gradients gradients_of_heads(const Context& context, const Forward& saved, const Tensor& dout) {
  Device& device = context.device;
  const Inputs mine = {saved.saved[0], saved.saved[1], saved.saved[2]};
  const Tensor my_dout = to_heads(all_ranks(context), dout);

  if constexpr (op == Operator::softmax) {
    const Tensor &o = saved.saved[3], &lse = saved.saved[4];
    const Tensor delta = device.allocate(lse.shape(), DType::fp32);
    device.softmax_delta(o, my_dout, delta);
    const Gradients sums = {zeros(device, mine.q.shape()), zeros(device, mine.k.shape()),
                            zeros(device, mine.v.shape())};
    device.softmax_backward(block_of(context, mine), my_dout, lse, delta, sums.dq, sums.dk, sums.dv);
    return rounded(device, sums, dout.dtype());
  } else {
    const Gradients grad = gradients_like(device, mine);
    const Tensor state = zeros(device, state_shape(mine));
    device.lightning_backward(chunk_of(context, mine), my_dout, state, zeros(device, state.shape()), grad.dq,
                              grad.dk, grad.dv);
    return grad;
  }
}

template <Operator op>
Gradients backward(const Context& context, const Inputs& in, const Forward& saved, const Tensor& dout) {
  return to_tokens(all_ranks(context), gradients_of_heads<op>(context, saved, dout), in);
}

PassTraffic traffic(const Problem& problem, DType dtype, int sp, int rank) {
  return exchange_traffic(problem, dtype, Layout::contiguous, sp, sp, rank);
}

/// Softmax: fp32 sums, rounded beside lse or delta. Lightning: the results and the state, or both states.
template <Operator op>
PassMemory memory(const Problem& problem, DType dtype, int sp, int rank) {
  const Problem p = dealt_heads(problem, sp);
  const Index o = p.o_shape().size(), grad = qkv_size(p);
  PassMemory attention = {.forward = bytes(o, dtype) + state_bytes(p),
                          .backward = bytes(grad, dtype) + 2 * state_bytes(p)};
  Index rows = 0;
  if (op == Operator::softmax) {
    rows = 4 * p.batch * p.heads * p.seq;
    attention = {.forward = 4 * o + rounding_bytes(o, dtype) + rows,
                 .backward = 4 * grad + rounding_bytes(grad, dtype) + rows};
  }
  return exchange_memory(problem, dtype, Layout::contiguous, sp, sp, rank, attention, rows);
}

template <Operator op>
Variant ulysses() {
  return {.name = "ulysses",
          .op = op,
          .summary = "all-to-alls: all tokens of some heads instead of some tokens of all heads",
          .unsupported = cannot_deal_heads,
          .forward = forward<op>,
          .backward = backward<op>,
          .traffic = traffic,
          .memory = memory<op>,
          .rounds_shares = [](const Problem& problem, int sp) { return kv_copies(problem, sp) > 1; },
          // each head, and each kv head with its whole group, is computed on one rank as sp = 1 computes it
          .same_bits = [](const Problem& problem, int sp) { return kv_copies(problem, sp) == 1; }};
}

}  // namespace

Variant make_ulysses(Operator op) {
  return op == Operator::softmax ? ulysses<Operator::softmax>() : ulysses<Operator::lightning>();
}

}  // namespace ringside
