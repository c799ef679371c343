// DistAttn of LightSeq (see balanced.h). Every step of both passes is the same: the next block's guest comes
// and the last block's results go home while this block is computed.
#include "distributed/variants/balanced.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "distributed/variant.h"
#include "distributed/variants/all.h"
#include "distributed/variants/block.h"

namespace ringside::balanced {
namespace {

/// Of queries and keys t ranks apart: if t <= P/2, they meet in step t at home of the queries, else in step
/// P-t at home of the keys. A rank without keys so far behind it has such queries P-t ranks ahead; only if t
/// = P-t they have met already.
std::optional<Block> block_at(int size, int rank, int step) {
  if (step < 0 || step > size / 2) return std::nullopt;
  if (step <= rank) return Block{rank, rank - step};
  if (2 * step < size) return Block{rank + size - step, rank};
  return std::nullopt;
}

/// What visits `rank` in a step, and from where.
std::optional<Visit> guest_at(int size, int rank, int step) {
  const auto block = block_at(size, rank, step);
  if (!block || block->queries == block->keys) return std::nullopt;
  return block->queries == rank ? Visit{Part::keys, block->keys} : Visit{Part::queries, block->queries};
}

/// What of `rank` visits another in a step, and whom: always the rank `step` ranks on.
std::optional<Visit> visit_at(int size, int rank, int step) {
  const int host = (rank + step) % size;
  const auto guest = guest_at(size, host, step);
  return guest ? std::optional(Visit{guest->part, host}) : std::nullopt;
}

}  // namespace

Step step_of(int size, int rank, int step) {
  return {.block = block_at(size, rank, step),
          .guest = guest_at(size, rank, step),
          .send = visit_at(size, rank, step + 1),
          .receive = guest_at(size, rank, step + 1),
          .give_back = guest_at(size, rank, step - 1),
          .take_back = visit_at(size, rank, step - 1)};
}

namespace {

using Tensors = std::vector<Tensor>;

/// Something of either side of a block.
template <typename T>
struct PerPart {
  T queries{}, keys{};
  T& operator[](Part part) { return part == Part::queries ? queries : keys; }
  const T& operator[](Part part) const { return part == Part::queries ? queries : keys; }
};

/// Uninitialised tensors like these, but for their tokens.
Tensors like(const Tensors& tensors, Index tokens) {
  Tensors result;
  for (const Tensor& x : tensors) {
    result.push_back(x.device().allocate(with_tokens(x.shape(), tokens), x.dtype()));
  }
  return result;
}

/// Queries travel as {q}, keys as {k, v}. What queries get is {o, lse} over the keys they have met,
/// normalised: [b, h, c, e] and [b, h, c, 1], fp32; keys get nothing.
struct ForwardPass {
  static constexpr std::string_view name = "forward";
  Device& device;
  PerPart<Tensors> parts;  // own

  Tensors nothing_yet(Part part, Index tokens) const {
    if (part == Part::keys) return {};
    Shape shape = with_tokens(parts.queries[0].shape(), tokens);
    const Tensor lse = filled(device, {shape.batch, shape.heads, tokens, 1}, DType::fp32,
                              -std::numeric_limits<float>::infinity());
    shape.dim = parts.keys[1].shape().dim;
    return {zeros(device, shape), lse};
  }
  void compute(const SoftmaxBlock& block, const PerPart<Tensors>&, const PerPart<Tensors>& results) const {
    if (sees_nothing(block)) return;
    const Tensors met = like(results.queries, block.q.shape().tokens);
    device.softmax_forward(block, met[0], met[1]);
    merge(met, results.queries);
  }
  void merge(const Tensors& from, const Tensors& into) const {
    if (!into.empty()) device.softmax_merge(from[0], from[1], into[0], into[1]);
  }
};

/// Queries travel as {q, do, lse, delta}, keys as {k, v}. What they get is {dq} and {dk, dv}, in their
/// shapes, fp32.
struct BackwardPass {
  static constexpr std::string_view name = "backward";
  Device& device;
  PerPart<Tensors> parts;  // own

  Tensors nothing_yet(Part part, Index tokens) const {
    if (part == Part::queries) return {zeros(device, with_tokens(parts.queries[0].shape(), tokens))};
    return {zeros(device, with_tokens(parts.keys[0].shape(), tokens)),
            zeros(device, with_tokens(parts.keys[1].shape(), tokens))};
  }
  void compute(const SoftmaxBlock& block, const PerPart<Tensors>& at_hand,
               const PerPart<Tensors>& results) const {
    if (sees_nothing(block)) return;
    const Tensors& queries = at_hand.queries;
    device.softmax_backward(block, queries[1], queries[2], queries[3], results.queries[0], results.keys[0],
                            results.keys[1]);
  }
  void merge(const Tensors& from, const Tensors& into) const {
    for (std::size_t i = 0; i < into.size(); ++i) device.add(from[i], into[i]);
  }
};

/// Starts to send one rank the part it is due, and to receive what is due from another.
Request exchange(Communicator& comm, const std::optional<Visit>& to, const PerPart<Tensors>& sent,
                 const std::optional<Visit>& from, const PerPart<Tensors>& received, std::string what) {
  std::vector<Message> sends, receives;
  if (to) {
    for (const Tensor& x : sent[to->part]) sends.push_back({to->peer, x});
  }
  if (from) {
    for (const Tensor& x : received[from->part]) receives.push_back({from->peer, x});
  }
  return comm.exchange(std::move(sends), std::move(receives), std::move(what));
}

/// The results of the rank's own queries and keys.
template <typename Pass>
PerPart<Tensors> run(const Context& context, const Pass& pass) {
  auto& [comm, device, problem] = context;
  const int size = comm.size(), rank = comm.rank();
  const auto held = [&](int by) { return positions(Layout::contiguous, context.problem, size, by); };
  const Index own = count(held(rank));
  const PerPart<Tensors> sums = {pass.nothing_yet(Part::queries, own), pass.nothing_yet(Part::keys, own)};

  PerPart<Tensors> parts = pass.parts, results;  // of this step's block
  for (int t = 0; t < steps(size); ++t) {
    const Step step = step_of(size, rank, t);
    PerPart<Tensors> next = pass.parts, returned;
    const PerPart<Tensors> last = std::exchange(results, sums);
    if (step.receive) {
      next[step.receive->part] = like(pass.parts[step.receive->part], count(held(step.receive->peer)));
    }
    if (step.take_back) returned[step.take_back->part] = like(sums[step.take_back->part], own);
    Request guests = exchange(comm, step.send, pass.parts, step.receive, next,
                              fmt::format("balanced {}, step {}: guests", Pass::name, t));
    Request homecoming = exchange(comm, step.give_back, last, step.take_back, returned,
                                  fmt::format("balanced {}, step {}: results", Pass::name, t));

    if (step.guest) {
      results[step.guest->part] = pass.nothing_yet(step.guest->part, count(held(step.guest->peer)));
    }
    if (step.block) {
      pass.compute(softmax_block(problem, parts.queries[0], parts.keys[0], parts.keys[1],
                                 held(step.block->queries), held(step.block->keys)),
                   parts, results);
    }

    guests.wait();
    homecoming.wait();
    if (step.take_back) pass.merge(returned[step.take_back->part], sums[step.take_back->part]);
    parts = std::move(next);
  }
  return sums;
}

Forward forward(const Context& context, const Inputs& in) {
  const Tensors sums = run(context, ForwardPass{context.device, {{in.q}, {in.k, in.v}}}).queries;
  return {rounded(context.device, sums[0], in.q.dtype()), {sums[1]}};
}

/// Gradients of the local tokens in fp32.
Gradients gradient_sums(const Context& context, const Inputs& in, const Forward& saved, const Tensor& dout) {
  Device& device = context.device;
  const Tensor& lse = saved.saved[0];
  const Tensor delta = device.allocate(lse.shape(), DType::fp32);
  device.softmax_delta(saved.o, dout, delta);
  const PerPart<Tensors> sums = run(context, BackwardPass{device, {{in.q, dout, lse, delta}, {in.k, in.v}}});
  return {sums.queries[0], sums.keys[0], sums.keys[1]};
}

Gradients backward(const Context& context, const Inputs& in, const Forward& saved, const Tensor& dout) {
  return rounded(context.device, gradient_sums(context, in, saved, dout), in.q.dtype());
}

std::optional<std::string> unsupported(const Problem& problem, int) {
  if (problem.causal) return std::nullopt;
  return "it deals out causal blocks; without the mask every rank has as many, and a ring is balanced";
}

/// Elements a token.
struct Row {
  Index q, o, kv, lse;

  explicit Row(const Problem& p)
      : q(p.batch * p.heads * p.head_dim),
        o(p.batch * p.heads * p.value_dim),
        kv(p.batch * p.kv_heads * (p.head_dim + p.value_dim)),
        lse(p.batch * p.heads) {}
};

/// A rank sends its k, v to those at most P/2 ranks on, its queries to those that are further on round the
/// ring; it helps the last ranks, and the nearest ones before it lend it keys.
PassTraffic traffic(const Problem& problem, DType dtype, int sp, int rank) {
  const Row row(problem);
  const Index w = bytes(1, dtype);
  const int hosts = std::min(sp - 1 - rank, sp / 2), helpers = std::max(0, rank - sp / 2);
  const int helped = std::max(0, (sp - 1) / 2 - rank), lenders = std::min(rank, sp / 2);
  const Index own = held_run(problem, sp, rank).count;
  const Index helped_tokens = held_tokens(problem, sp, sp - helped, sp);
  const Index lent_tokens = held_tokens(problem, sp, rank - lenders, rank);
  const Index kv_bytes = own * hosts * row.kv * w;
  return {.forward = {.bytes = kv_bytes + own * helpers * row.q * w + helped_tokens * 4 * (row.o + row.lse),
                      .messages = 2 * hosts + helpers + 2 * helped},
          .backward = {.bytes = kv_bytes + own * helpers * ((row.q + row.o) * w + 2 * 4 * row.lse) +
                                helped_tokens * 4 * row.q + lent_tokens * 4 * row.kv,
                       .messages = 2 * hosts + 4 * helpers + helped + 2 * lenders}};
}

/// At the worst step, beside the own sums: the guest that is here and the one that arrives, what the block
/// brings its guest and what the last one has brought the last guest, on its way home, what comes back for
/// own parts; in forward also the block's own o and lse, if it sees anything. What is returned is rounded
/// when all but the sums are gone, which may take more.
PassMemory memory(const Problem& problem, DType dtype, int sp, int rank) {
  const auto tokens = [&](int of) { return held_run(problem, sp, of).count; };
  const Index own = tokens(rank);
  const auto sees_any = [&](const Block& block) {
    const auto held = [&](int by) { return positions(Layout::contiguous, problem, sp, by); };
    return !fully_masked(held(block.queries), held(block.keys), mask_of(problem));
  };
  /// Bytes a token of what travels, of what it gets, and of what a block needs for each query.
  const auto worst = [&](PerPart<Index> part, PerPart<Index> result, Index block) {
    Index most = 0;
    for (int t = 0; t < steps(sp); ++t) {
      const Step step = step_of(sp, rank, t);
      const auto of = [&](const std::optional<Visit>& visit, const PerPart<Index>& token) {
        return visit ? tokens(visit->peer) * token[visit->part] : 0;
      };
      Index held =
          of(step.guest, part) + of(step.receive, part) + of(step.guest, result) + of(step.give_back, result);
      if (step.take_back) held += own * result[step.take_back->part];
      if (step.block && sees_any(*step.block)) held += tokens(step.block->queries) * block;
      most = std::max(most, held);
    }
    return most;
  };
  const Row row(problem);
  const Index w = bytes(1, dtype), o_lse = 4 * (row.o + row.lse), sums = own * (row.q + row.kv);
  return {.forward = own * o_lse + std::max(worst({row.q * w, row.kv * w}, {o_lse, 0}, o_lse),
                                            rounding_bytes(own * row.o, dtype)),
          .backward = 4 * sums +
                      std::max(own * 4 * row.lse + worst({(row.q + row.o) * w + 2 * 4 * row.lse, row.kv * w},
                                                         {4 * row.q, 4 * row.kv}, 0),
                               rounding_bytes(sums, dtype))};
}

}  // namespace
}  // namespace ringside::balanced

ringside::Variant ringside::make_balanced() {
  using namespace balanced;
  return {.name = "balanced",
          .op = Operator::softmax,
          .summary = "contiguous chunks; ranks whose queries see few keys compute blocks of the last ranks",
          .unsupported = unsupported,
          .forward = forward,
          .backward = backward,
          .traffic = traffic,
          .memory = memory};
}
