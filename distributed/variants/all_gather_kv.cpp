// All-gather attention: k, v of some heads are gathered, then one attention. The gathers of Llama 3's context
// parallelism (Grattafiori et al. 2024, "The Llama 3 Herd of Models", 3.3.2), on contiguous chunks, of some
// heads at a time, as ring-flash-attention's llama3 variant deals packed sequences out; causal work is as
// unbalanced as ring's.
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <optional>

#include "distributed/variant.h"
#include "distributed/variants/all.h"
#include "distributed/variants/block.h"

namespace ringside {
namespace {

/// Ranks whose keys local queries may see: so many from 0 on.
int seen_ranks(const Problem& problem, int size, int rank) { return problem.causal ? rank + 1 : size; }

/// Tokens of those ranks.
Index seen_tokens(const Problem& problem, int size, int rank) {
  return held_tokens(problem, size, 0, seen_ranks(problem, size, rank));
}

Shape with_heads(Shape shape, Index heads) {
  shape.heads = heads;
  return shape;
}

/// The group's share of the heads of x, group `index` of `groups`: a new tensor.
Tensor heads_of(Device& device, const Tensor& x, Index index, Index groups) {
  const Index heads = x.shape().heads / groups;
  Tensor part = device.allocate(with_heads(x.shape(), heads), x.dtype());
  device.copy_part(x, {index * heads, 0}, part, {}, heads, x.shape().tokens);
  return part;
}

/// The way back, rounded to x's dtype.
void put_heads(Device& device, const Tensor& part, Index index, const Tensor& x) {
  const Index heads = part.shape().heads;
  device.copy_part(rounded(device, part, x.dtype()), {}, x, {index * heads, 0}, heads, x.shape().tokens);
}

/// A tensor of some kv heads on its way from all ranks to all.
class Gather {
 public:
  /// mine: [b, s, c, dim].
  Gather(const Context& context, const Tensor& mine, std::string what) : context_(context) {
    const int size = context.comm.size();
    for (int rank = 0; rank < size; ++rank) {
      const Index tokens = held_run(context.problem, size, rank).count;
      parts_.push_back(rank == context.comm.rank()
                           ? mine
                           : context.device.allocate(with_tokens(mine.shape(), tokens), mine.dtype()));
    }
    arriving_ = context.comm.all_gather(mine, parts_, std::move(what));
  }

  /// All tokens that local queries may see, [b, s, tokens, dim]. The parts that arrived live as long as this.
  Tensor finish() {
    arriving_.wait();
    const int size = context_.comm.size(), rank = context_.comm.rank();
    const Index tokens = seen_tokens(context_.problem, size, rank);
    const Shape& s = parts_.front().shape();
    Tensor all = context_.device.allocate(with_tokens(s, tokens), parts_.front().dtype());
    Index first = 0;
    for (int r = 0; r < seen_ranks(context_.problem, size, rank); ++r) {
      const Tensor& part = parts_[static_cast<std::size_t>(r)];
      context_.device.copy_part(part, {}, all, {0, first}, s.heads, part.shape().tokens);
      first += part.shape().tokens;
    }
    return all;
  }

 private:
  const Context& context_;
  std::vector<Tensor> parts_;
  Request arriving_;
};

/// Gradients of those tokens, of some kv heads, on their way to the ranks that hold them.
class Scatter {
 public:
  /// grad: [b, s, tokens, dim] fp32, of the tokens that local queries may see.
  Scatter(const Context& context, const Tensor& grad, std::string what) {
    Device& device = context.device;
    const int size = context.comm.size(), rank = context.comm.rank();
    std::vector<Tensor> sends;
    Index first = 0;
    for (int r = 0; r < size; ++r) {
      const Index tokens = held_run(context.problem, size, r).count;
      const Shape shape = with_tokens(grad.shape(), tokens);
      const bool seen = r < seen_ranks(context.problem, size, rank);
      sends.push_back(seen ? device.allocate(shape, DType::fp32) : zeros(device, shape));
      if (seen) device.copy_part(grad, {0, first}, sends.back(), {}, shape.heads, tokens);
      first += tokens;
    }
    sum_ = device.allocate(sends[static_cast<std::size_t>(rank)].shape(), DType::fp32);
    arriving_ = context.comm.reduce_scatter(std::move(sends), sum_, std::move(what));
  }

  /// [b, s, c, dim] fp32.
  Tensor finish() {
    arriving_.wait();
    return sum_;
  }

 private:
  Tensor sum_;
  Request arriving_;
};

/// k and v, or dk and dv.
template <typename Transfer>
struct KvPair {
  KvPair(const Context& context, const Tensor& of_k, const Tensor& of_v, const std::string& what)
      : k(context, of_k, what + "k"), v(context, of_v, what + "v") {}
  Transfer k, v;
};

/// Calls attend(group, k, v) for each group of kv heads with all keys that local queries may see, while the
/// next group's are on their way.
template <typename Attend>
void for_each_group(const Context& context, const Inputs& in, Index groups, std::string_view pass,
                    const Attend& attend) {
  std::optional<KvPair<Gather>> gather;
  const auto start = [&](Index group) {
    gather.emplace(context, heads_of(context.device, in.k, group, groups),
                   heads_of(context.device, in.v, group, groups),
                   fmt::format("all_gather_kv {}, group {}: ", pass, group));
  };
  start(0);
  for (Index group = 0; group < groups; ++group) {
    const Tensor k = gather->k.finish(), v = gather->v.finish();
    gather.reset();
    if (group + 1 < groups) start(group + 1);
    attend(group, k, v);
  }
}

SoftmaxBlock block_of(const Context& context, const Tensor& q, const Tensor& k, const Tensor& v) {
  return softmax_block(
      context.problem, q, k, v,
      positions(Layout::contiguous, context.problem, context.comm.size(), context.comm.rank()),
      {{0, 1, k.shape().tokens}});
}

Forward forward(int stride, const Context& context, const Inputs& in) {
  Device& device = context.device;
  const Index groups = in.k.shape().heads / stride;
  const Shape shape = o_shape(in), rows = {shape.batch, shape.heads, shape.tokens, 1};
  const Tensor o = device.allocate(shape, in.q.dtype()), lse = device.allocate(rows, DType::fp32);
  for_each_group(context, in, groups, "forward", [&](Index group, const Tensor& k, const Tensor& v) {
    const Tensor group_o = device.allocate(with_heads(shape, shape.heads / groups), DType::fp32);
    const Tensor group_lse = device.allocate(with_heads(rows, shape.heads / groups), DType::fp32);
    device.softmax_forward(block_of(context, heads_of(device, in.q, group, groups), k, v), group_o,
                           group_lse);
    put_heads(device, group_o, group, o);
    put_heads(device, group_lse, group, lse);
  });
  return {o, {lse}};
}

Gradients backward(int stride, const Context& context, const Inputs& in, const Forward& saved,
                   const Tensor& dout) {
  Device& device = context.device;
  const Index groups = in.k.shape().heads / stride;
  const Tensor& lse = saved.saved[0];
  const Tensor delta = device.allocate(lse.shape(), DType::fp32);
  device.softmax_delta(saved.o, dout, delta);
  const Gradients grad = gradients_like(device, in);

  std::optional<KvPair<Scatter>> leaving;  // of the group before
  const auto arrive = [&](Index group) {
    put_heads(device, leaving->k.finish(), group, grad.dk);
    put_heads(device, leaving->v.finish(), group, grad.dv);
    leaving.reset();
  };
  for_each_group(context, in, groups, "backward", [&](Index group, const Tensor& k, const Tensor& v) {
    const Tensor dk = zeros(device, k.shape()), dv = zeros(device, v.shape());
    {
      const SoftmaxBlock block = block_of(context, heads_of(device, in.q, group, groups), k, v);
      const Tensor dq = zeros(device, block.q.shape());
      device.softmax_backward(block, heads_of(device, dout, group, groups),
                              heads_of(device, lse, group, groups), heads_of(device, delta, group, groups),
                              dq, dk, dv);
      put_heads(device, dq, group, grad.dq);
    }
    if (leaving) arrive(group - 1);
    leaving.emplace(context, dk, dv, fmt::format("all_gather_kv backward, group {}: d", group));
  });
  arrive(groups - 1);
  return grad;
}

/// A rank's own k, v go to all others; in backward once more, and the others' dk, dv, in fp32, to them.
PassTraffic traffic(int stride, const Problem& problem, DType dtype, int sp, int rank) {
  if (sp == 1) return {};
  const Index own = held_run(problem, sp, rank).count;
  const Index token = problem.batch * problem.kv_heads * (problem.head_dim + problem.value_dim);
  const Index gathered = own * (sp - 1) * bytes(token, dtype), scattered = (problem.seq - own) * token * 4;
  const std::int64_t collectives = 2 * problem.kv_heads / stride;
  return {.forward = {.bytes = gathered, .collectives = collectives},
          .backward = {.bytes = gathered + scattered, .collectives = 2 * collectives}};
}

/// Forward: o and lse; the k, v that arrive beside those that they become; or those beside the next that
/// arrive and the group's o and lse, in fp32, with q before them or the rounded o after them.
/// Backward: the gradients and delta; the same k, v beside the dk, dv of the group before, which are leaving:
/// a part for each rank, what arrives for this one, and its sum; or k, v and their dk, dv, beside the next k,
/// v that arrive and either what is leaving of this group, or of the one before beside the group's q and dq,
/// in fp32, with do, lse and delta before them or the rounded dq after them.
PassMemory memory(int stride, const Problem& problem, DType dtype, int sp, int rank) {
  const Problem own = held_problem(problem, Layout::contiguous, sp, rank);
  const Index groups = problem.kv_heads / stride;
  Problem group = own;
  group.heads /= groups;
  group.kv_heads = stride;
  const Index token = group.batch * stride * (group.head_dim + group.value_dim);
  const Index seen = seen_tokens(problem, sp, rank) * token, kv = bytes(seen, dtype);
  const Index arriving = bytes(problem.seq * token, dtype), next = groups > 1 ? arriving : 0;
  const Index leaving = 4 * (problem.seq + own.seq * sp) * token;
  const Index q = group.q_shape().size(), o = group.o_shape().size(),
              rows = 4 * group.batch * group.heads * own.seq;

  const Index attention = 4 * o + rows + std::max(bytes(q, dtype), rounding_bytes(o, dtype));
  const Index gradients =
      bytes(q, dtype) + 4 * q + std::max(bytes(o, dtype) + 2 * rows, rounding_bytes(q, dtype));
  Index backward = 0;
  for (Index g = 0; g < groups; ++g) {
    const Index before = g > 0 ? leaving : 0, after = g + 1 < groups ? arriving : 0;
    backward = std::max(
        {backward, arriving + kv + before, kv + after + 4 * seen + std::max(gradients + before, leaving)});
  }
  const Index kept = 4 * own.batch * own.heads * own.seq;  // lse or delta
  return {.forward = bytes(own.o_shape().size(), dtype) + kept + kv + std::max(arriving, next + attention),
          .backward = bytes(qkv_size(own), dtype) + kept + backward};
}

}  // namespace

Variant make_all_gather_kv(int stride) {
  return {
      .name = "all_gather_kv",
      .op = Operator::softmax,
      .summary = fmt::format(
          "k and v of {} kv heads at a time are gathered from all ranks (causal work is unbalanced)", stride),
      .unsupported = [stride](const Problem& problem, int) -> std::optional<std::string> {
        if (problem.kv_heads % stride == 0) return std::nullopt;
        return fmt::format("{} kv heads cannot be gathered {} at a time", problem.kv_heads, stride);
      },
      .forward = std::bind_front(forward, stride),
      .backward = std::bind_front(backward, stride),
      .traffic = std::bind_front(traffic, stride),
      .memory = std::bind_front(memory, stride)};
}

}  // namespace ringside
