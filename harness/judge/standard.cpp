#include "harness/judge/standard.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "harness/base/bytes.h"
#include "harness/base/parallel.h"
#include "harness/base/stopwatch.h"
#include "harness/cases/select_cases.h"
#include "harness/judge/control.h"
#include "harness/judge/either.h"
#include "harness/tensors/inputs.h"
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

/// Whether one head's values, [tokens, dim], look drawn from something like a Gaussian. Their means over
/// tokens are small: those of n independent values of mean 0 have 1/n of their square. No few of them carry
/// the sum of squares: Σx⁴ is 3 times that of equal values for Gaussian ones, times 1 + 9·√(96/n) at most for
/// that many.
bool looks_drawn(std::span<const float> values, Index tokens, Index dim) {
  std::vector<double> sums(static_cast<std::size_t>(dim));
  double squares = 0, fourths = 0, of_means = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double x = double{values[i]};
    sums[i % sums.size()] += x;
    squares += x * x;
    fourths += x * x * x * x;
  }
  const auto n = static_cast<double>(tokens), count = static_cast<double>(values.size());
  for (const double sum : sums) of_means += sum * sum / n;
  return squares > 0 && of_means <= (4 / n + 1.0 / 16) * squares &&
         fourths * count <= (3 + 9 * std::sqrt(96 / count)) * squares * squares;
}

/// Whether a softmax problem's inputs look so, and its logits have no more than twice the spread of the usual
/// ones.
bool look_random(const Problem& problem, const Operands& operands) {
  const auto mean_square = [](const View<const float>& x) {
    double sum = 0;
    for (const float value : x.all()) sum += double{value} * double{value};
    return sum / static_cast<double>(x.shape.size());
  };
  const double spread2 = problem.scale * problem.scale * static_cast<double>(problem.head_dim) *
                         mean_square(operands.q) * mean_square(operands.k);
  if (problem.op == Operator::softmax && !(spread2 <= 4)) return false;
  return std::ranges::all_of(
      std::array{operands.q, operands.k, operands.v, operands.dout}, [](const View<const float>& x) {
        for (Index h = 0; h < x.shape.heads; ++h) {
          const std::span one(x.head(0, h), static_cast<std::size_t>(x.shape.head_size()));
          if (!looks_drawn(one, x.shape.tokens, x.shape.dim)) return false;
        }
        return true;
      });
}

/// Integers small enough that no sum rounds: a right result is the truth, rounded once to storage. Where
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

/// Heads of an output that a (batch, kv head) group has.
Index heads_per_group(const Case& c, Out out) { return per_kv_head(out) ? 1 : c.heads / c.kv_heads; }

/// Merges heads in global order, whoever measured them: stats[i] and ranks[i·sp, (i+1)·sp) are of this
/// process's i-th head.
void merge_over_processes(const Case& c, Out out, std::span<const TensorStats> stats,
                          std::span<const RankStats> ranks, Fleet& fleet, Measured& total) {
  const Index per_group = heads_per_group(c, out);
  std::vector<std::byte> mine;
  append_bytes(mine, stats);
  append_bytes(mine, ranks);
  total.ranks[out].assign(static_cast<std::size_t>(c.ranks()), {});
  const auto all = fleet.processes().all_gather(mine, "figures of each head");
  for (std::size_t process = 0; process < all.size(); ++process) {
    const Shard shard = Shard::of(c, static_cast<int>(process), static_cast<int>(all.size()));
    const auto heads = static_cast<std::size_t>(shard.groups() * per_group);
    const auto sp = static_cast<std::size_t>(c.sp);
    std::span<const std::byte> from = all[process];
    const auto head_stats = take_bytes<TensorStats>(from, heads);
    const auto head_ranks = take_bytes<RankStats>(from, heads * sp);
    for (std::size_t i = 0; i < heads; ++i) {
      merge(total.stats[out], head_stats[i]);
      const Index batch = shard.batch_of(c, static_cast<Index>(i), per_group);
      const auto first = static_cast<std::size_t>(batch % c.dp) * sp;
      for (std::size_t r = 0; r < sp; ++r) merge(total.ranks[out][first + r], head_ranks[i * sp + r]);
    }
  }
}

}  // namespace

const Variant& single_rank_variant(Operator op) {
  return *find_variant(op == Operator::softmax ? "ring" : "lightning", op);
}

Pieces pieces_of(const Case& c, const Layout& layout) {
  Pieces pieces;
  for (int rank = 0; rank < c.sp; ++rank) {
    for (const Run& run : positions(layout, c.local_problem(), c.sp, rank)) pieces.push_back({run});
  }
  return pieces;
}

Standard make_standard(const Case& of, Fleet& fleet, const InputSource& inputs, const Pieces& given) {
  Case c = of;
  const bool rounds = c.partials != DType::fp32;
  const Pieces pieces = rounds && given.empty() ? pieces_of(c, find_variant(c.variant, c.op)->layout) : given;
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
    const Operands operands = values.operands(s.problem, s.rows);
    s.random = c.fill == Fill::gaussian || (c.fill == Fill::given && look_random(s.problem, operands));
    // first: its memory goes before the truth's comes
    s.control = control_run(c, s.problem, operands, pieces, fleet);
    const Arithmetic arithmetic = {c.dtype, c.math};
    s.truth = c.op == Operator::softmax ? softmax_oracle(s.problem, operands, threads, arithmetic)
                                        : lightning_oracle(s.problem, operands, threads, arithmetic);
    if (rounds) add_partials(s.problem, operands, threads, c.dtype, c.partials, pieces, s.truth);
    if (exact_is_exact(c)) demand_exactness(c, s.truth);
  }
  fleet.processes().barrier("the end of the reference");
  s.reference_s = watch.lap();
  s.stats = measure_all(c, maker({c, single_rank_variant(c.op)}), s, s.control, false, fleet).stats;
  s.measure_s = watch.lap();
  return s;
}

bool Standards::has(const Case& c) const { return standard_ && key_ == standard_key(c); }

const Standard& Standards::of(const Case& c, const Runner& runner) {
  if (has(c)) return *standard_;
  standard_.reset();
  runner.inputs->clear();
  standard_ = make_standard(c, runner.fleet);
  key_ = standard_key(c);
  return *standard_;
}

Rounding rounding_of(const Case& c) {
  return {.accumulator = unit_roundoff(DType::fp32),
          .storage = unit_roundoff(c.dtype),
          .overflow = overflow_threshold(c.dtype),
          .partials = unit_roundoff(c.partials),
          .partials_overflow = overflow_threshold(c.partials)};
}

bool rounds_shares(const Case& c, const Variant& variant) {
  return c.dtype != DType::fp32 && variant.rounds_shares &&  // sums are fp32 anyway
         variant.rounds_shares(c.local_problem(), c.sp);
}

Maker maker(const Subject& subject, Index block) {
  return {.layout = subject.placement.layout(),
          .block = block,
          .holder = subject.placement.holder(),
          .rounds_shares = rounds_shares(subject.c, subject.variant)};
}

HeadView head_view(const Case& c, const Maker& maker, const Standard& s, const HostOutputs& outputs, Out out,
                   Index i) {
  const Expected& expected = expected_of(s.truth, out);
  const Index per_group = heads_per_group(c, out);
  const Index batch = s.shard.batch_of(c, i, per_group), head = s.shard.head_of(c, i, per_group);
  const auto size = static_cast<std::size_t>(expected.shape.head_size());
  const std::size_t first = static_cast<std::size_t>(i) * size;
  return {.problem = s.problem,
          .out = out,
          .dtype = c.dtype,
          .batch = batch,
          .head = head,
          .values = part_of(outputs[out], first, size),
          .expected = view_of(expected, maker.rounds_shares, first, size),
          .rows = s.rows,
          .rounding = rounding_of(c),
          .holder = maker.holder,
          .first_rank = static_cast<int>(batch % c.dp) * c.sp,
          .control = s.random ? part_of(s.control[out], first, size) : std::span<const float>{},
          .yardstick = part_of(s.control[out], first, size),
          .either = either_rows(c, maker.layout, maker.block, out, batch, head)};
}

Measured measure_all(const Case& c, const Maker& maker, const Standard& s, const HostOutputs& outputs,
                     bool with_legacy, Fleet& fleet) {
  const auto sp = static_cast<std::size_t>(c.sp);
  Measured total;
  for (const Out out : kOuts) {
    const Index per_group = heads_per_group(c, out);
    const auto heads = static_cast<std::size_t>(s.shard.groups() * per_group);
    std::vector<TensorStats> stats(heads);
    std::vector<RankStats> ranks(heads * sp);
    parallel_for(static_cast<Index>(heads), fleet.threads_per_process(), [&](Index i) {
      HeadView view = head_view(c, maker, s, outputs, out, i);
      if (!with_legacy || view.batch % c.dp != 0) view.yardstick = {};
      const auto at = static_cast<std::size_t>(i);
      stats[at] = measure(view, std::span(ranks).subspan(at * sp, sp));
    });
    merge_over_processes(c, out, stats, ranks, fleet, total);
  }
  return total;
}

}  // namespace ringside
