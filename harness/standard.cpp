#include "harness/standard.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "distributed/block.h"
#include "distributed/thread_communicator.h"
#include "harness/bytes.h"
#include "harness/either.h"
#include "harness/grid.h"
#include "harness/inputs.h"
#include "harness/parallel.h"
#include "harness/stopwatch.h"
#include "reference/lightning_oracle.h"
#include "reference/softmax_oracle.h"

namespace ringside {
namespace {

/// Operands of a shard: [1, heads, seq, dim], already rounded to the case's dtype.
struct Values {
  std::vector<float> q, k, v, dout;

  Operands operands(const Problem& p, std::span<const Index> rows) const {
    return {{q.data(), p.q_shape()},
            {k.data(), p.k_shape()},
            {v.data(), p.v_shape()},
            {dout.data(), p.o_shape()},
            rows};
  }
};

Values make_values(const Case& c, const Shard& shard, const Problem& problem, const InputSource& inputs,
                   int threads) {
  constexpr Index kTokens = 8192;  // made at a time, for all threads to have some
  const Index pieces = (c.seq + kTokens - 1) / kTokens;
  const auto make = [&](TensorId id, const Shape& shape, Index per_group) {
    std::vector<float> values(static_cast<std::size_t>(shape.size()));
    parallel_for(shape.heads * pieces, threads, [&](Index i) {
      const Index head = i / pieces, first = i % pieces * kTokens;
      const Run run = {first, 1, std::min(kTokens, c.seq - first)};
      inputs(id, shard.batch_of(c, head, per_group), shard.head_of(c, head, per_group), run,
             std::span(values).subspan(static_cast<std::size_t>(head * shape.head_size() + first * shape.dim),
                                       static_cast<std::size_t>(run.count * shape.dim)));
    });
    return values;
  };
  const Index group = problem.group();
  return {make(TensorId::q, problem.q_shape(), group), make(TensorId::k, problem.k_shape(), 1),
          make(TensorId::v, problem.v_shape(), 1), make(TensorId::dout, problem.o_shape(), group)};
}

/// Tensors of the honest run on the device, of the query rows that are asked for.
using DeviceOutputs = PerOut<Tensor>;

/// The block operations that rings are made of, once: these query rows against all keys.
DeviceOutputs honest_softmax(Device& device, const Problem& problem, const Positions& rows, const Inputs& in,
                             const Tensor& dout) {
  const SoftmaxBlock block = softmax_block(problem, in.q, in.k, in.v, rows, {{0, 1, problem.seq}});
  const auto per_row = [&](Index dim) {
    return device.allocate({1, problem.heads, count(rows), dim}, DType::fp32);
  };
  const Tensor o = per_row(problem.value_dim), lse = per_row(1), delta = per_row(1);
  device.softmax_forward(block, o, lse);
  const Tensor stored_o = rounded(device, o, dout.dtype());
  device.softmax_delta(stored_o, dout, delta);
  const Tensor dq = zeros(device, in.q.shape()), dk = zeros(device, in.k.shape());
  const Tensor dv = zeros(device, in.v.shape());
  device.softmax_backward(block, dout, lse, delta, dq, dk, dv);
  const auto stored = [&](const Tensor& x) { return rounded(device, x, dout.dtype()); };
  return {{stored_o, stored(dq), stored(dk), stored(dv)}};
}

DeviceOutputs honest_lightning(Communicator& comm, Device& device, const Problem& problem, const Inputs& in,
                               const Tensor& dout) {
  const Variant& variant = single_rank_variant(Operator::lightning);
  const Context context = {comm, device, problem};
  const Forward forward = variant.forward(context, in);
  const Gradients grad = variant.backward(context, in, forward, dout);
  return {{forward.o, grad.dq, grad.dk, grad.dv}};
}

/// Calls visit(at, part, size) for the tokens of each run (of stride 1) in the matrices of `shape`: `size`
/// elements from `at` on, which are those from `part` on if the matrices have the runs' tokens alone.
template <typename Visit>
void for_each_run(const Shape& shape, const Positions& runs, const Visit& visit) {
  std::size_t part = 0;
  for (Index h = 0; h < shape.heads; ++h) {
    for (const Run& run : runs) {
      const auto size = static_cast<std::size_t>(run.count * shape.dim);
      visit(static_cast<std::size_t>((h * shape.tokens + run.start) * shape.dim), part, size);
      part += size;
    }
  }
}

/// The honest run of one (batch, kv head) group; `problem` is that group's, `group` its index.
void run_honest_group(const Case& c, const Problem& problem, Index group, const Values& values,
                      std::span<const Index> asked, Communicator& comm, HostOutputs& result) {
  const auto device = make_cpu_device({.math = c.math});
  const Positions all = {{0, 1, problem.seq}};
  Positions rows = all;
  if (!asked.empty()) {
    rows.clear();
    for (const Index row : asked) rows.push_back({row, 1, 1});
  }
  const auto of_group = [&](auto& x, const Shape& shape) {
    const auto size = static_cast<std::size_t>(shape.size());
    return std::span(x).subspan(static_cast<std::size_t>(group) * size, size);
  };
  const auto upload = [&](const std::vector<float>& from, Shape shape, const Positions& runs) {
    std::vector<std::byte> bytes;
    for_each_run(shape, runs, [&](std::size_t at, std::size_t, std::size_t size) {
      append_bytes<std::byte>(bytes, to_storage(of_group(from, shape).subspan(at, size), c.dtype));
    });
    shape.tokens = count(runs);
    Tensor x = device->allocate(shape, c.dtype);
    device->upload(bytes, x);
    return x;
  };
  const Inputs in = {upload(values.q, problem.q_shape(), rows), upload(values.k, problem.k_shape(), all),
                     upload(values.v, problem.v_shape(), all)};
  const Tensor dout = upload(values.dout, problem.o_shape(), rows);
  const DeviceOutputs outs = c.op == Operator::softmax ? honest_softmax(*device, problem, rows, in, dout)
                                                       : honest_lightning(comm, *device, problem, in, dout);
  for (const Out out : kOuts) {
    std::vector<std::byte> stored(outs[out].size_bytes());
    device->download(outs[out], stored);
    const Shape shape = shape_of(problem, out);
    for_each_run(shape, per_kv_head(out) ? all : rows,
                 [&](std::size_t at, std::size_t part, std::size_t size) {
                   with_type(c.dtype, [&](auto x) {
                     for (float& value : of_group(result[out], shape).subspan(at, size)) {
                       std::memcpy(&x, &stored[part++ * sizeof x], sizeof x);
                       value = to_float(x);
                     }
                   });
                 });
  }
}

HostOutputs run_honest(const Case& c, const Problem& whole, const Values& values, std::span<const Index> rows,
                       Fleet& fleet) {
  HostOutputs result;
  for (const Out out : kOuts) result[out].resize(static_cast<std::size_t>(shape_of(whole, out).size()));
  const ThreadGroupOptions lone = {.timeout = fleet.timeout()};
  parallel_for(whole.kv_heads, fleet.threads_per_process(), [&](Index group) {
    Problem one = whole;
    one.kv_heads = 1;
    one.heads = whole.group();
    if (!whole.slopes.empty()) {
      const auto begin = whole.slopes.begin() + group * one.heads;
      one.slopes.assign(begin, begin + one.heads);
    }
    run_ranks(1, lone,
              [&](Communicator& comm) { run_honest_group(c, one, group, values, rows, comm, result); });
  });
  return result;
}

/// Integers small enough that no sum rounds: an honest result is the truth, rounded once to storage. Where
/// shares are rounded before they are added, their sum is rounded as well: it and the rounded truth are each
/// within u_store·|truth| of what they round.
void demand_exactness(const Case& c, Truth& truth) {
  for (Expected* e : {&truth.o, &truth.dq, &truth.dk, &truth.dv}) {
    for (std::size_t i = 0; i < e->shares.size(); ++i) e->shares[i] += 2 * std::abs(e->value[i]);
    for (double& x : e->value) {
      const auto exact = static_cast<float>(x);
      x = static_cast<double>(rounded_to(c.dtype, exact));
    }
    std::ranges::fill(e->error, 0.0F);
    e->storage.assign(e->value.size(), 0.0);
    e->floor = 0;
  }
}

/// Merges heads in global order, whoever measured them: stats[i] and ranks[i·sp, (i+1)·sp) are of this
/// process's i-th head.
void merge_over_processes(const Case& c, Index per_group, std::span<const TensorStats> stats,
                          std::span<const RankStats> ranks, Fleet& fleet, TensorStats& total,
                          std::vector<RankStats>& total_ranks) {
  std::vector<std::byte> mine;
  append_bytes(mine, stats);
  append_bytes(mine, ranks);
  total_ranks.assign(static_cast<std::size_t>(c.ranks()), {});
  const auto all = fleet.processes().all_gather(mine, "figures of each head");
  for (std::size_t process = 0; process < all.size(); ++process) {
    const Shard shard = Shard::of(c, static_cast<int>(process), static_cast<int>(all.size()));
    const auto heads = static_cast<std::size_t>(shard.groups() * per_group);
    const auto sp = static_cast<std::size_t>(c.sp);
    std::span<const std::byte> from = all[process];
    const auto head_stats = take_bytes<TensorStats>(from, heads);
    const auto head_ranks = take_bytes<RankStats>(from, heads * sp);
    for (std::size_t i = 0; i < heads; ++i) {
      merge(total, head_stats[i]);
      const Index batch = shard.batch_of(c, static_cast<Index>(i), per_group);
      const auto first = static_cast<std::size_t>(batch % c.dp) * sp;
      for (std::size_t r = 0; r < sp; ++r) merge(total_ranks[first + r], head_ranks[i * sp + r]);
    }
  }
}

}  // namespace

const Variant& single_rank_variant(Operator op) {
  return *find_variant(op == Operator::softmax ? "ring" : "lightning", op);
}

Standard make_standard(const Case& of, Fleet& fleet, const InputSource& inputs) {
  Case c = of;
  c.dp = c.sp = 1;
  Standard s;
  s.shard = Shard::of(c, fleet.processes().rank(), fleet.processes().size());
  s.problem = s.shard.problem(c);
  s.rows = sampled_rows(c);
  const int threads = fleet.threads_per_process();
  Stopwatch watch;
  if (s.shard.groups() > 0) {  // with more processes than groups some have none
    const auto generated = [&](TensorId id, Index b, Index h, const Run& run, std::span<float> rows) {
      fill_rows(c, id, b, h, run, rows);
    };
    const Values values = make_values(c, s.shard, s.problem, inputs ? inputs : generated, threads);
    s.inputs_s = watch.lap();
    s.honest =
        run_honest(c, s.problem, values, s.rows, fleet);  // first: its memory goes before the truth's comes
    const Operands operands = values.operands(s.problem, s.rows);
    const Arithmetic arithmetic = {c.dtype, c.math};
    s.truth = c.op == Operator::softmax ? softmax_oracle(s.problem, operands, threads, arithmetic)
                                        : lightning_oracle(s.problem, operands, threads, arithmetic);
    if (exact_is_exact(c)) demand_exactness(c, s.truth);
  }
  fleet.processes().barrier("the end of the reference");
  s.reference_s = watch.lap();
  s.stats = measure_all(c, maker(c, single_rank_variant(c.op)), s, s.honest, false, fleet).stats;
  s.measure_s = watch.lap();
  return s;
}

Rounding rounding_of(const Case& c) {
  return {unit_roundoff(DType::fp32), unit_roundoff(c.dtype), overflow_threshold(c.dtype)};
}

bool rounds_shares(const Case& c, const Variant& variant) {
  return c.dtype != DType::fp32 && variant.rounds_shares &&  // sums are fp32 anyway
         variant.rounds_shares(c.local_problem(), c.sp);
}

Maker maker(const Case& c, const Variant& variant, Index block) {
  return {.layout = variant.layout,
          .block = block,
          .holder = holders(c, variant.layout),
          .rounds_shares = rounds_shares(c, variant)};
}

HeadView head_view(const Case& c, const Maker& maker, const Standard& s, const HostOutputs& outputs, Out out,
                   Index i) {
  const Expected& expected = expected_of(s.truth, out);
  const Index per_group = per_kv_head(out) ? 1 : c.heads / c.kv_heads;
  const Index batch = s.shard.batch_of(c, i, per_group), head = s.shard.head_of(c, i, per_group);
  const auto size = static_cast<std::size_t>(expected.shape.head_size());
  const auto part = [&](const auto& all) {  // of a tensor that may be left out
    return all.empty() ? std::span(all) : std::span(all).subspan(static_cast<std::size_t>(i) * size, size);
  };
  return {.problem = s.problem,
          .out = out,
          .batch = batch,
          .head = head,
          .values = part(outputs[out]),
          .expected = part(expected.value),
          .error = part(expected.error),
          .storage = part(expected.storage),
          .shares = maker.rounds_shares ? part(expected.shares) : std::span<const double>{},
          .floor = expected.floor,
          .smallest = expected.smallest,
          .rows = s.rows,
          .rounding = rounding_of(c),
          .holder = maker.holder,
          .first_rank = static_cast<int>(batch % c.dp) * c.sp,
          .yardstick = part(s.honest[out]),
          .either = either_rows(c, maker.layout, maker.block, out, batch, head)};
}

Measured measure_all(const Case& c, const Maker& maker, const Standard& s, const HostOutputs& outputs,
                     bool with_legacy, Fleet& fleet) {
  const auto sp = static_cast<std::size_t>(c.sp);
  Measured total;
  for (const Out out : kOuts) {
    const Index per_group = per_kv_head(out) ? 1 : c.heads / c.kv_heads;
    const auto heads = static_cast<std::size_t>(s.shard.groups() * per_group);
    std::vector<TensorStats> stats(heads);
    std::vector<RankStats> ranks(heads * sp);
    parallel_for(static_cast<Index>(heads), fleet.threads_per_process(), [&](Index i) {
      HeadView view = head_view(c, maker, s, outputs, out, i);
      if (!with_legacy || view.batch % c.dp != 0) view.yardstick = {};
      const auto at = static_cast<std::size_t>(i);
      stats[at] = measure(view, std::span(ranks).subspan(at * sp, sp));
    });
    merge_over_processes(c, per_group, stats, ranks, fleet, total.stats[out], total.ranks[out]);
  }
  return total;
}

std::string standard_key(const Case& c) {
  Case key = c;
  key.variant = "";
  key.dp = key.sp = 1;
  return key.name();
}

}  // namespace ringside
