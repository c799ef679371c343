#include "distributed/variants/head_exchange.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace ringside {
namespace {

/// The group of `rank`, and which of its tokens each of it holds, in the order of all.
class Parts {
 public:
  Parts(Layout layout, const Problem& problem, int ranks, int sp, int rank)
      : first(rank / ranks * ranks), own_(static_cast<std::size_t>(rank % ranks)) {
    for (int r = first; r < first + ranks; ++r) {
      runs.push_back({all, 1, count(positions(layout, problem, sp, r))});
      all += runs.back().count;
    }
  }
  explicit Parts(const HeadGroup& group)
      : Parts(group.layout, group.context.problem, group.ranks, group.context.comm.size(),
              group.context.comm.rank()) {}

  int first;                ///< rank of the group
  std::vector<Run> runs{};  ///< of each, places in the group's local order
  Index all = 0;

  bool is_own(std::size_t member) const { return member == own_; }
  Index own() const { return runs[own_].count; }

 private:
  std::size_t own_;
};

/// An all-to-all under way.
class Exchange {
 public:
  /// x: [b, h, c, dim], own tokens of all heads -> [b, h·copies/ranks, n, dim], all tokens of own heads, each
  /// head of x being `copies` consecutive ones.
  static Exchange to_heads(const HeadGroup& group, const Tensor& x, Index copies, std::string what) {
    const Parts parts(group);
    const Shape& s = x.shape();
    const Index heads = s.heads * copies / group.ranks;
    Exchange result(group, {s.batch, heads, parts.all, s.dim}, x.dtype());
    Index head = 0;
    for (const Run& tokens : parts.runs) {
      result.expect({s.batch, heads, tokens.count, s.dim}, {0, tokens.start});
      const Tensor part = result.departing(parts, {s.batch, heads, s.tokens, s.dim});
      for (Index h = 0; h < heads; ++h, ++head) {
        group.context.device.copy_part(x, {head / copies, 0}, part, {h, 0}, 1, s.tokens);
      }
    }
    result.start(group, parts, std::move(what));
    return result;
  }

  /// The way back. x: [b, h/ranks, n, dim] -> [b, h, c, dim].
  static Exchange to_tokens(const HeadGroup& group, const Tensor& x, std::string what) {
    const Parts parts(group);
    const Shape& s = x.shape();
    Exchange result(group, {s.batch, s.heads * group.ranks, parts.own(), s.dim}, x.dtype());
    Index head = 0;
    for (const Run& tokens : parts.runs) {
      result.expect({s.batch, s.heads, parts.own(), s.dim}, {head, 0});
      const Tensor part = result.departing(parts, {s.batch, s.heads, tokens.count, s.dim});
      group.context.device.copy_part(x, {0, tokens.start}, part, {}, s.heads, tokens.count);
      head += s.heads;
    }
    result.start(group, parts, std::move(what));
    return result;
  }

  /// Call it once: the parts that arrived are given back.
  Tensor finish() {
    arriving_.wait();
    const Tensor result = device_.allocate(shape_, dtype_);
    for (std::size_t rank = 0; rank < receives_.size(); ++rank) {
      const Shape& s = receives_[rank].shape();
      device_.copy_part(receives_[rank], {}, result, corners_[rank], s.heads, s.tokens);
    }
    receives_.clear();
    return result;
  }

 private:
  Exchange(const HeadGroup& group, const Shape& shape, DType dtype)
      : device_(group.context.device), shape_(shape), dtype_(dtype) {}

  /// The next rank's part and its place in the result.
  void expect(const Shape& shape, Corner corner) {
    receives_.push_back(device_.allocate(shape, dtype_));
    corners_.push_back(corner);
  }
  /// Memory for what goes to the rank that was expected last: the own part is where it is expected already.
  Tensor departing(const Parts& parts, const Shape& shape) {
    sends_.push_back(parts.is_own(sends_.size()) ? receives_.back() : device_.allocate(shape, dtype_));
    return sends_.back();
  }
  void start(const HeadGroup& group, const Parts& parts, std::string what) {
    arriving_ = group.context.comm.all_to_all({parts.first, group.ranks}, std::move(sends_), receives_,
                                              std::move(what));
  }

  Device& device_;
  Shape shape_;  // of the result
  DType dtype_;
  std::vector<Tensor> sends_, receives_;
  std::vector<Corner> corners_;
  Request arriving_;
};

/// The sum over the copies of each kv head, in `shape`: a new tensor, or x itself if there is one copy.
Tensor without_copies(Device& device, const Tensor& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  Tensor sum = device.allocate(shape, x.dtype());
  device.sum_heads(x, sum);
  return sum;
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

}  // namespace

std::optional<std::string> cannot_deal_heads(const Problem& problem, int ranks) {
  if (problem.heads % ranks == 0) return std::nullopt;
  return fmt::format("{} heads cannot be dealt out evenly to {} ranks", problem.heads, ranks);
}

Index kv_copies(const Problem& problem, int ranks) {
  return std::lcm(problem.kv_heads, ranks) / problem.kv_heads;
}

Problem dealt_heads(Problem problem, int ranks) {
  problem.kv_heads = problem.kv_heads * kv_copies(problem, ranks) / ranks;
  problem.heads /= ranks;
  return problem;
}

Inputs to_heads(const HeadGroup& group, const Inputs& in) {
  const Index copies = kv_copies(group.context.problem, group.ranks);
  Exchange q = Exchange::to_heads(group, in.q, 1, "head exchange forward: q");
  Exchange k = Exchange::to_heads(group, in.k, copies, "head exchange forward: k");
  Exchange v = Exchange::to_heads(group, in.v, copies, "head exchange forward: v");
  return {q.finish(), k.finish(), v.finish()};
}

Tensor to_heads(const HeadGroup& group, const Tensor& dout) {
  return Exchange::to_heads(group, dout, 1, "head exchange backward: do").finish();
}

Tensor to_tokens(const HeadGroup& group, const Tensor& o) {
  return Exchange::to_tokens(group, o, "head exchange forward: o").finish();
}

Gradients to_tokens(const HeadGroup& group, const Gradients& of_heads, const Inputs& in) {
  Exchange dq = Exchange::to_tokens(group, of_heads.dq, "head exchange backward: dq");
  Exchange dk = Exchange::to_tokens(group, of_heads.dk, "head exchange backward: dk");
  Exchange dv = Exchange::to_tokens(group, of_heads.dv, "head exchange backward: dv");
  const Gradients own = {dq.finish(), dk.finish(), dv.finish()};
  return {own.dq, without_copies(group.context.device, own.dk, in.k.shape()),
          without_copies(group.context.device, own.dv, in.v.shape())};
}

/// Of every tensor a rank sends the other ranks' heads of its tokens, or the other ranks' tokens of its
/// heads. An all-to-all is one collective, as everywhere (Traffic), among some ranks as among all: how many
/// messages it is made of is the communicator's affair. Who counts messages has ranks - 1 for each.
PassTraffic exchange_traffic(const Problem& problem, DType dtype, Layout layout, int ranks, int sp,
                             int rank) {
  if (ranks == 1) return {};
  const Problem p = dealt_heads(problem, ranks);
  const Parts parts(layout, p, ranks, sp, rank);
  const Index to_heads = parts.own() * (ranks - 1), to_tokens = parts.all - parts.own();
  const Index qkv_row =
      p.batch * bytes(p.heads * p.head_dim + p.kv_heads * (p.head_dim + p.value_dim), dtype);
  const Index o_row = p.batch * bytes(p.heads * p.value_dim, dtype);
  return {.forward = {.bytes = to_heads * qkv_row + to_tokens * o_row, .collectives = 4},
          .backward = {.bytes = to_heads * o_row + to_tokens * qkv_row, .collectives = 4}};
}

/// Forward: q, k, v arrive, which are kept; attention beside them; then o, kept for backward (and rows),
/// while it goes home. Backward: do arrives; attention beside it; then the gradients while they go home.
/// Summing copies takes no more than unpacking them did: there are two at least.
PassMemory exchange_memory(const Problem& problem, DType dtype, Layout layout, int ranks, int sp, int rank,
                           const PassMemory& attention, Index rows) {
  const Problem p = dealt_heads(problem, ranks);
  const Parts parts(layout, p, ranks, sp, rank);
  const Index element = p.batch * bytes(1, dtype), own = parts.own(), all = parts.all;
  const Index q = element * p.heads * p.head_dim, o = element * p.heads * p.value_dim;
  const Index k = element * p.kv_heads * p.head_dim, v = element * p.kv_heads * p.value_dim;
  const auto to_heads = [&](std::initializer_list<Index> tensors) {
    return exchange_bytes(own * (ranks - 1), all, tensors);
  };
  const auto to_tokens = [&](std::initializer_list<Index> tensors) {
    return exchange_bytes(all - own, own * ranks, tensors);
  };
  const Index qkv = all * (q + k + v);
  return {.forward = std::max(to_heads({q, k, v}),
                              qkv + std::max(attention.forward, all * o + rows + to_tokens({o}))),
          .backward = std::max({to_heads({o}), all * o + attention.backward, qkv + to_tokens({q, k, v})})};
}

}  // namespace ringside
