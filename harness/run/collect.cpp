#include "harness/run/collect.h"

#include <cstring>
#include <limits>

namespace ringside {
namespace {

/// One (batch entry, head) matrix [local tokens, dim] of a rank's output.
struct Matrix {
  Out out;
  Index group;       ///< global (batch, kv head) group that its data came from
  Index in_group;    ///< which of the group's heads
  Index per_group;   ///< heads of this output in a group
  std::size_t at;    ///< its first byte in the rank's output
  std::size_t size;  ///< bytes
};

/// Calls visit(matrix) for every matrix that `rank` holds, in an order that sender and receiver share.
template <typename Visit>
void for_each_matrix(const Subject& subject, const InputsChange& change, int rank, const Visit& visit) {
  const Case& c = subject.c;
  const Problem whole = c.problem();
  const Index tokens = count(subject.placement.tokens(rank));
  for (const Out out : kOuts) {
    const Index heads = per_kv_head(out) ? c.kv_heads : c.heads;
    const Index per_group = heads / c.kv_heads;
    const auto size = static_cast<std::size_t>(tokens * shape_of(whole, out).dim) * size_of(c.dtype);
    std::size_t at = 0;
    for (const Index b : subject.placement.batches(rank)) {
      for (Index h = 0; h < heads; ++h, at += size) {
        const Index group = change.batch_from(c, b) * c.kv_heads + change.kv_head_from(c, h / per_group);
        visit(Matrix{out, group, h % per_group, per_group, at, size});
      }
    }
  }
}

/// Rows of `from`, in storage dtype, to their positions in the matrix `to` [seq, dim].
void place_rows(std::span<const std::byte> from, DType dtype, const Positions& tokens, Index dim, float* to) {
  const std::byte* source = from.data();
  for (const Run& run : tokens) {
    for (Index i = 0; i < run.count; ++i) {
      float* row = to + run.position(i) * dim;
      with_type(dtype, [&](auto x) {
        for (Index e = 0; e < dim; ++e, source += sizeof x) {
          std::memcpy(&x, source, sizeof x);
          row[e] = to_float(x);
        }
      });
    }
  }
}

}  // namespace

HostOutputs collect(const Runner& runner, const Subject& subject, const std::vector<RankRun>& mine) {
  const Case& c = subject.c;
  const InputsChange& change = runner.inputs->change();
  ProcessGroup& processes = runner.fleet.processes();
  const auto shard_of = [&](int process) { return Shard::of(c, process, processes.size()); };
  const auto holds = [](const Shard& shard, const Matrix& m) {
    return m.group >= shard.first && m.group < shard.last;
  };

  std::vector<std::vector<std::byte>> to(static_cast<std::size_t>(processes.size()));
  for (int p = 0; p < processes.size(); ++p) {
    if (p == processes.rank()) continue;  // read where it lies
    std::vector<std::byte>& message = to[static_cast<std::size_t>(p)];
    const Shard shard = shard_of(p);
    for (const RankRun& run : mine) {
      for_each_matrix(subject, change, run.rank, [&](const Matrix& m) {
        if (!holds(shard, m)) return;
        const auto bytes = std::span(run.outputs[m.out]).subspan(m.at, m.size);
        message.insert(message.end(), bytes.begin(), bytes.end());
      });
    }
  }
  const auto from = processes.all_to_all(std::move(to), "outputs to the processes that judge them");

  const Shard shard = shard_of(processes.rank());
  const Problem problem = shard.problem(c);
  HostOutputs result;
  for (const Out out : kOuts) {
    // a token that no rank holds stays NaN, and fails
    result[out].assign(static_cast<std::size_t>(shape_of(problem, out).size()),
                       std::numeric_limits<float>::quiet_NaN());
  }
  std::vector<std::size_t> read(from.size());
  for (int rank = 0; rank < c.ranks(); ++rank) {
    const auto process = static_cast<std::size_t>(runner.fleet.process_of(rank));
    const auto own = std::ranges::find(mine, rank, &RankRun::rank);
    const Positions& tokens = subject.placement.tokens(rank);
    for_each_matrix(subject, change, rank, [&](const Matrix& m) {
      if (!holds(shard, m)) return;
      const Shape shape = shape_of(problem, m.out);
      const Index head = (m.group - shard.first) * m.per_group + m.in_group;
      float* to_head = result[m.out].data() + head * shape.head_size();
      if (own != mine.end()) {
        place_rows(std::span(own->outputs[m.out]).subspan(m.at, m.size), c.dtype, tokens, shape.dim, to_head);
        return;
      }
      place_rows(std::span(from[process]).subspan(read[process], m.size), c.dtype, tokens, shape.dim,
                 to_head);
      read[process] += m.size;
    });
  }
  return result;
}

}  // namespace ringside
