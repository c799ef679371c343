#include "harness/judge/control.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "distributed/comm/thread_communicator.h"
#include "distributed/variants/block.h"
#include "harness/base/bytes.h"
#include "harness/base/parallel.h"
#include "harness/judge/standard.h"
#include "harness/tensors/inputs.h"

namespace ringside {
namespace {

/// Calls visit(at, part, size) for each stretch of neighbours among the tokens of `heads` heads from `first`
/// on: `size` elements from `at` on of a tensor of `shape`, which are those from `part` on of one that has
/// those heads and tokens alone.
template <typename Visit>
void for_each_stretch(const Shape& shape, Index first, Index heads, const Positions& tokens,
                      const Visit& visit) {
  std::size_t part = 0;
  for (Index h = first; h < first + heads; ++h) {
    for (const Run& run : tokens) {
      const Index length = run.stride == 1 ? run.count : 1;
      for (Index i = 0; i < run.count; i += length) {
        const auto size = static_cast<std::size_t>(length * shape.dim);
        visit(static_cast<std::size_t>((h * shape.tokens + run.position(i)) * shape.dim), part, size);
        part += size;
      }
    }
  }
}

/// The control run of one (batch, kv head) group.
class GroupRun {
 public:
  /// `problem`: that group's; `group`: its index among those of `operands`.
  GroupRun(const Case& c, const Problem& problem, Index group, const Operands& operands, HostOutputs& result)
      : c_(c),
        problem_(problem),
        group_(group),
        operands_(operands),
        result_(result),
        device_(make_cpu_device({.math = c.math})) {}

  /// The block operations that rings are made of: queries of each piece against keys of each.
  void softmax(const std::vector<Positions>& queries, const std::vector<Positions>& keys);
  void lightning(Communicator& comm);

 private:
  Tensor upload(View<const float> from, Index heads, const Positions& tokens) const;
  void download(const Tensor& from, Out out, const Positions& tokens);
  Tensor stored(const Tensor& x) const { return rounded(*device_, x, c_.dtype); }
  /// As it comes back from c.partials, in fp32.
  Tensor partial(const Tensor& x) const {
    return rounded(*device_, rounded(*device_, x, c_.partials), DType::fp32);
  }

  const Case& c_;
  const Problem& problem_;
  Index group_;
  const Operands& operands_;
  HostOutputs& result_;
  std::unique_ptr<Device> device_;
};

Tensor GroupRun::upload(View<const float> from, Index heads, const Positions& tokens) const {
  std::vector<std::byte> bytes;
  for_each_stretch(from.shape, group_ * heads, heads, tokens,
                   [&](std::size_t at, std::size_t, std::size_t size) {
                     append_bytes<std::byte>(bytes, to_storage(from.all().subspan(at, size), c_.dtype));
                   });
  Tensor x = device_->allocate({1, heads, count(tokens), from.shape.dim}, c_.dtype);
  device_->upload(bytes, x);
  return x;
}

void GroupRun::download(const Tensor& from, Out out, const Positions& tokens) {
  std::vector<std::byte> stored(from.size_bytes());
  device_->download(from, stored);
  const Index heads = from.shape().heads;
  Shape shape = shape_of(problem_, out);
  for_each_stretch(shape, group_ * heads, heads, tokens,
                   [&](std::size_t at, std::size_t part, std::size_t size) {
                     with_type(c_.dtype, [&](auto x) {
                       for (float& value : std::span(result_[out]).subspan(at, size)) {
                         std::memcpy(&x, &stored[part++ * sizeof x], sizeof x);
                         value = to_float(x);
                       }
                     });
                   });
}

void GroupRun::softmax(const std::vector<Positions>& queries, const std::vector<Positions>& keys) {
  struct Keys {
    const Positions& tokens;
    Tensor k, v, dk, dv;
  };
  std::vector<Keys> all;
  for (const Positions& tokens : keys) {
    const Tensor k = upload(operands_.k, 1, tokens), v = upload(operands_.v, 1, tokens);
    all.push_back({tokens, k, v, zeros(*device_, k.shape()), zeros(*device_, v.shape())});
  }
  const Index heads = problem_.heads;
  for (const Positions& tokens : queries) {
    const Tensor q = upload(operands_.q, heads, tokens), dout = upload(operands_.dout, heads, tokens);
    const Tensor o = zeros(*device_, dout.shape()), dq = zeros(*device_, q.shape());
    const Shape per_row = {1, heads, count(tokens), 1};
    const Tensor lse = filled(*device_, per_row, DType::fp32, -std::numeric_limits<float>::infinity());
    const Tensor delta = device_->allocate(per_row, DType::fp32);
    for (const Keys& of : all) {
      const SoftmaxBlock block = softmax_block(problem_, q, of.k, of.v, tokens, of.tokens);
      if (sees_nothing(block)) continue;
      const Tensor block_o = device_->allocate(dout.shape(), DType::fp32);
      const Tensor block_lse = device_->allocate(per_row, DType::fp32);
      device_->softmax_forward(block, block_o, block_lse);
      device_->softmax_merge(partial(block_o), block_lse, o, lse);
    }
    const Tensor stored_o = stored(o);
    device_->softmax_delta(stored_o, dout, delta);
    for (const Keys& of : all) {
      const SoftmaxBlock block = softmax_block(problem_, q, of.k, of.v, tokens, of.tokens);
      if (sees_nothing(block)) continue;
      const Tensor block_dq = zeros(*device_, q.shape());
      const Tensor block_dk = zeros(*device_, of.k.shape()), block_dv = zeros(*device_, of.v.shape());
      device_->softmax_backward(block, dout, lse, delta, block_dq, block_dk, block_dv);
      device_->add(partial(block_dq), dq);
      device_->add(partial(block_dk), of.dk);
      device_->add(partial(block_dv), of.dv);
    }
    download(stored_o, Out::o, tokens);
    download(stored(dq), Out::dq, tokens);
  }
  for (const Keys& of : all) {
    download(stored(of.dk), Out::dk, of.tokens);
    download(stored(of.dv), Out::dv, of.tokens);
  }
}

void GroupRun::lightning(Communicator& comm) {
  const Positions all = {{0, 1, problem_.seq}};
  const Index heads = problem_.heads;
  const Inputs in = {upload(operands_.q, heads, all), upload(operands_.k, 1, all),
                     upload(operands_.v, 1, all)};
  const Tensor dout = upload(operands_.dout, heads, all);
  const Variant& variant = single_rank_variant(Operator::lightning);
  const Context context = {comm, *device_, problem_};
  const Forward forward = variant.forward(context, in);
  const Gradients grad = variant.backward(context, in, forward, dout);
  download(forward.o, Out::o, all);
  download(grad.dq, Out::dq, all);
  download(grad.dk, Out::dk, all);
  download(grad.dv, Out::dv, all);
}

/// The tokens of a piece that are among `rows`, which increase; no rows: all.
Positions asked(const Positions& piece, std::span<const Index> rows) {
  if (rows.empty()) return piece;
  const auto holds = [](const Run& run, Index row) {
    return (row - run.start) % run.stride == 0 && row >= run.start && row < run.position(run.count);
  };
  Positions tokens;
  for (const Index row : rows) {
    if (std::ranges::any_of(piece, [&](const Run& run) { return holds(run, row); }))
      tokens.push_back({row, 1, 1});
  }
  return tokens;
}

}  // namespace

HostOutputs control_run(const Case& c, const Problem& whole, const Operands& operands, const Pieces& pieces,
                        Fleet& fleet) {
  HostOutputs result;
  for (const Out out : kOuts) result[out].resize(static_cast<std::size_t>(shape_of(whole, out).size()));
  std::vector<Positions> queries, keys;
  for (const Positions& piece : c.partials == DType::fp32 ? Pieces{{{0, 1, whole.seq}}} : pieces) {
    keys.push_back(piece);
    queries.push_back(asked(piece, operands.rows));
    if (queries.back().empty()) queries.pop_back();
  }
  const ThreadGroupOptions lone = {.timeout = fleet.timeout()};
  parallel_for(whole.kv_heads, fleet.threads_per_process(), [&](Index group) {
    Problem one = whole;
    one.kv_heads = 1;
    one.heads = whole.group();
    if (!whole.slopes.empty()) {
      const auto begin = whole.slopes.begin() + group * one.heads;
      one.slopes.assign(begin, begin + one.heads);
    }
    run_ranks(1, lone, [&](Communicator& comm) {
      GroupRun run(c, one, group, operands, result);
      if (c.op == Operator::softmax) {
        run.softmax(queries, keys);
      } else {
        run.lightning(comm);
      }
    });
  });
  return result;
}

}  // namespace ringside
