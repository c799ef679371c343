// DeepSpeed-Ulysses (Jacobs et al. 2023): all-to-alls turn a rank's tokens of all heads into all tokens of
// its heads, and back; between them attention is that of one rank. Serves both operators.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "distributed/block.h"
#include "distributed/variant.h"

namespace ringside {
namespace {

/// Copies of each kv head that make their number divisible by the ranks.
Index kv_copies(const Problem& problem, Index size) {
  return std::lcm(problem.kv_heads, size) / problem.kv_heads;
}

Run tokens_of(const Problem& problem, int size, int rank) {
  const Positions held = positions(Layout::contiguous, problem, size, rank);
  return held.empty() ? Run{} : held.front();
}

/// An all-to-all between the two ways of cutting a tensor.
class Exchange {
 public:
  /// x: [b, h, c, dim], own tokens of all heads -> [b, h·copies/P, n, dim], all tokens of own heads, each
  /// head of x being `copies` consecutive ones.
  static Exchange to_heads(const Context& context, const Tensor& x, Index copies, std::string what) {
    const Shape& s = x.shape();
    const int size = context.comm.size();
    const Index heads = s.heads * copies / size;
    Exchange result(context, {s.batch, heads, context.problem.seq, s.dim}, x.dtype());
    std::vector<Tensor> sends;
    for (int rank = 0; rank < size; ++rank) {
      const Run tokens = tokens_of(context.problem, size, rank);
      result.expect({s.batch, heads, tokens.count, s.dim}, {0, tokens.start});
      sends.push_back(result.departing(context, rank, {s.batch, heads, s.tokens, s.dim}));
      for (Index h = 0; h < heads; ++h) {
        context.device.copy_part(x, {(rank * heads + h) / copies, 0}, sends.back(), {h, 0}, 1, s.tokens);
      }
    }
    result.start(context.comm, std::move(sends), std::move(what));
    return result;
  }

  /// The way back. x: [b, h/P, n, dim] -> [b, h, c, dim].
  static Exchange to_tokens(const Context& context, const Tensor& x, std::string what) {
    const Shape& s = x.shape();
    const int size = context.comm.size();
    const Index own = tokens_of(context.problem, size, context.comm.rank()).count;
    Exchange result(context, {s.batch, s.heads * size, own, s.dim}, x.dtype());
    std::vector<Tensor> sends;
    for (int rank = 0; rank < size; ++rank) {
      const Run tokens = tokens_of(context.problem, size, rank);
      result.expect({s.batch, s.heads, own, s.dim}, {rank * s.heads, 0});
      sends.push_back(result.departing(context, rank, {s.batch, s.heads, tokens.count, s.dim}));
      context.device.copy_part(x, {0, tokens.start}, sends.back(), {}, s.heads, tokens.count);
    }
    result.start(context.comm, std::move(sends), std::move(what));
    return result;
  }

  /// Call it once: the parts that arrived are given back.
  Tensor finish() {
    arriving_.wait();
    const Tensor result = device_.allocate(shape_, dtype_);
    for (std::size_t rank = 0; rank < parts_.size(); ++rank) {
      const Shape& s = parts_[rank].shape();
      device_.copy_part(parts_[rank], {}, result, corners_[rank], s.heads, s.tokens);
    }
    parts_.clear();
    return result;
  }

 private:
  Exchange(const Context& context, const Shape& shape, DType dtype)
      : device_(context.device), shape_(shape), dtype_(dtype) {}

  /// The next rank's part and its place in the result.
  void expect(const Shape& shape, Corner corner) {
    parts_.push_back(device_.allocate(shape, dtype_));
    corners_.push_back(corner);
  }
  /// Memory for what goes to the rank that was expected last: the own part is where it is expected already.
  Tensor departing(const Context& context, int rank, const Shape& shape) const {
    return rank == context.comm.rank() ? parts_.back() : device_.allocate(shape, dtype_);
  }
  void start(Communicator& comm, std::vector<Tensor> sends, std::string what) {
    device_.synchronize();
    arriving_ = comm.all_to_all(std::move(sends), parts_, std::move(what));
  }

  Device& device_;
  Shape shape_;  // of the result
  DType dtype_;
  std::vector<Tensor> parts_;
  std::vector<Corner> corners_;
  Pending arriving_;
};

/// All tokens of this rank's heads.
struct Heads {
  Tensor q, k, v;

  SoftmaxBlock block(const Problem& problem) const {
    const Positions all = {{0, 1, problem.seq}};
    return {q, k, v, all, all, problem.causal, problem.scale};
  }
  LightningChunk chunk(const Context& context) const {
    const auto heads = static_cast<std::size_t>(q.shape().heads);
    const auto rank = static_cast<std::size_t>(context.comm.rank());
    return {q, k, v, std::span(context.problem.slopes).subspan(rank * heads, heads),
            documents_of(context.problem, {0, 1, context.problem.seq})};
  }
  Inputs inputs() const { return {q, k, v}; }
};

template <Operator op>
Forward forward(const Context& context, const Inputs& in) {
  auto& [comm, device, problem] = context;
  const Index copies = kv_copies(problem, comm.size());
  Exchange q = Exchange::to_heads(context, in.q, 1, "ulysses forward: q");
  Exchange k = Exchange::to_heads(context, in.k, copies, "ulysses forward: k");
  Exchange v = Exchange::to_heads(context, in.v, copies, "ulysses forward: v");
  const Heads mine = {q.finish(), k.finish(), v.finish()};

  std::vector<Tensor> saved = {mine.q, mine.k, mine.v};
  Tensor o;
  if constexpr (op == Operator::softmax) {
    const Shape shape = o_shape(mine.inputs());
    const Tensor sum = device.allocate(shape, DType::fp32);
    const Tensor lse = device.allocate({shape.batch, shape.heads, shape.tokens, 1}, DType::fp32);
    device.softmax_forward(mine.block(problem), sum, lse);
    o = rounded(device, sum, in.q.dtype());
    saved.insert(saved.end(), {o, lse});
  } else {
    o = device.allocate(o_shape(mine.inputs()), in.q.dtype());
    device.lightning_forward(mine.chunk(context), zeros(device, state_shape(mine.inputs())), o);
  }
  return {Exchange::to_tokens(context, o, "ulysses forward: o").finish(), std::move(saved)};
}

/// Gradients of all tokens of this rank's heads, in the storage dtype.
template <Operator op>
Gradients gradients_of_heads(const Context& context, const Forward& saved, const Tensor& dout) {
  auto& [comm, device, problem] = context;
  const Heads mine = {saved.saved[0], saved.saved[1], saved.saved[2]};
  const Tensor my_dout = Exchange::to_heads(context, dout, 1, "ulysses backward: do").finish();

  if constexpr (op == Operator::softmax) {
    const Tensor &o = saved.saved[3], &lse = saved.saved[4];
    const Tensor delta = device.allocate(lse.shape(), DType::fp32);
    device.softmax_delta(o, my_dout, delta);
    const Gradients sums = {zeros(device, mine.q.shape()), zeros(device, mine.k.shape()),
                            zeros(device, mine.v.shape())};
    device.softmax_backward(mine.block(problem), my_dout, lse, delta, sums.dq, sums.dk, sums.dv);
    return rounded(device, sums, dout.dtype());
  } else {
    const Gradients grad = gradients_like(device, mine.inputs());
    const Tensor state = zeros(device, state_shape(mine.inputs()));
    device.lightning_backward(mine.chunk(context), my_dout, state, zeros(device, state.shape()), grad.dq,
                              grad.dk, grad.dv);
    return grad;
  }
}

/// The sum over the copies of each kv head, in `shape`: a new tensor, or x itself if there is one copy.
Tensor without_copies(Device& device, const Tensor& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  Tensor sum = device.allocate(shape, x.dtype());
  device.sum_heads(x, sum);
  return sum;
}

template <Operator op>
Gradients backward(const Context& context, const Inputs& in, const Forward& saved, const Tensor& dout) {
  const Gradients of_heads = gradients_of_heads<op>(context, saved, dout);
  Exchange dq = Exchange::to_tokens(context, of_heads.dq, "ulysses backward: dq");
  Exchange dk = Exchange::to_tokens(context, of_heads.dk, "ulysses backward: dk");
  Exchange dv = Exchange::to_tokens(context, of_heads.dv, "ulysses backward: dv");
  const Gradients own = {dq.finish(), dk.finish(), dv.finish()};
  return {own.dq, without_copies(context.device, own.dk, in.k.shape()),
          without_copies(context.device, own.dv, in.v.shape())};
}

/// Of every tensor a rank sends the other ranks' heads of its tokens, or the other ranks' tokens of its
/// heads.
PassTraffic traffic(const Problem& p, DType dtype, int sp, int rank) {
  if (sp == 1) return {};
  const Index own = tokens_of(p, sp, rank).count;
  const Index element = p.batch * static_cast<Index>(size_of(dtype));
  const Index to_heads = element * own * (sp - 1);      // a rank's share of heads goes to each other rank
  const Index to_tokens = element * (p.seq - own);      // of own heads
  const Index kv = p.kv_heads * kv_copies(p, sp) / sp;  // heads of a rank
  const Index qkv_row = p.heads / sp * p.head_dim + kv * (p.head_dim + p.value_dim);
  const Index o_row = p.heads / sp * p.value_dim;
  return {.forward = {.bytes = to_heads * qkv_row + to_tokens * o_row, .collectives = 4},
          .backward = {.bytes = to_heads * o_row + to_tokens * qkv_row, .collectives = 4}};
}

std::optional<std::string> unsupported(const Problem& problem, int sp) {
  if (problem.heads % sp == 0) return std::nullopt;
  return fmt::format("{} heads cannot be dealt out to {} ranks", problem.heads, sp);
}

/// The most bytes that exchanges hold which are started together and finished in turn: what leaves other than
/// to the rank itself and what arrives, of all; when one is finished, nothing of it that leaves, but its
/// result beside the parts that arrived, then the result alone, of their size. `leaving`, `arriving`: tokens;
/// `tensors`: bytes a token of each.
Index exchange_bytes(Index leaving, Index arriving, std::initializer_list<Index> tensors) {
  Index held = 0;
  for (const Index token : tensors) held += (leaving + arriving) * token;
  Index most = held;
  for (const Index token : tensors) {
    held -= leaving * token;
    most = std::max(most, held + arriving * token);
  }
  return most;
}

/// Forward: q, k, v arrive, which are kept; attention beside them; then o, kept for backward (and lse), while
/// it goes home. Backward: do arrives; attention beside it; then the gradients while they go home. Summing
/// copies takes no more than unpacking them did: there are two at least.
template <Operator op>
PassMemory memory(const Problem& p, DType dtype, int sp, int rank) {
  Problem heads = p;  // this rank's, all tokens
  heads.heads = p.heads / sp;
  heads.kv_heads = p.kv_heads * kv_copies(p, sp) / sp;
  const Index element = p.batch * bytes(1, dtype);
  const Index q = element * heads.heads * p.head_dim, o = element * heads.heads * p.value_dim;
  const Index k = element * heads.kv_heads * p.head_dim, v = element * heads.kv_heads * p.value_dim;
  const Index own = tokens_of(p, sp, rank).count;
  const auto to_heads = [&](std::initializer_list<Index> tensors) {
    return exchange_bytes(own * (sp - 1), p.seq, tensors);
  };
  const auto to_tokens = [&](std::initializer_list<Index> tensors) {
    return exchange_bytes(p.seq - own, own * sp, tensors);
  };

  // forward, backward: what attention takes beside q, k, v, or do; kept: what o does on its way home
  const Index qkv = p.seq * (q + k + v), rows = 4 * p.batch * heads.heads * p.seq;
  Index forward = p.seq * o, kept = p.seq * o, backward = qkv;
  if (op == Operator::softmax) {  // fp32 sums, rounded beside lse or delta
    const Index o_size = heads.o_shape().size(), grad_size = qkv_size(heads);
    forward = 4 * o_size + rounding_bytes(o_size, dtype) + rows;
    kept += rows;
    backward = 4 * grad_size + rounding_bytes(grad_size, dtype) + rows;
  } else {  // the state, or both
    forward += state_bytes(heads);
    backward += 2 * state_bytes(heads);
  }
  return {.forward = std::max(to_heads({q, k, v}), qkv + std::max(forward, kept + to_tokens({o}))),
          .backward = std::max({to_heads({o}), p.seq * o + backward, qkv + to_tokens({q, k, v})})};
}

template <Operator op>
Variant ulysses() {
  return {.name = "ulysses",
          .op = op,
          .summary = "all-to-alls: all tokens of some heads instead of some tokens of all heads",
          .unsupported = unsupported,
          .forward = forward<op>,
          .backward = backward<op>,
          .traffic = traffic,
          .memory = memory<op>,
          .rounds_shares = [](const Problem& problem, int sp) { return kv_copies(problem, sp) > 1; },
          // each head, and each kv head with its whole group, is computed on one rank as sp = 1 computes it
          .same_bits = [](const Problem& problem, int sp) { return kv_copies(problem, sp) == 1; }};
}

const Registration softmax{ulysses<Operator::softmax>()};
const Registration lightning{ulysses<Operator::lightning>()};

}  // namespace
}  // namespace ringside
