#include "harness/judge/either.h"

#include <cstdlib>
#include <numeric>
#include <utility>
#include <vector>

#include "harness/tensors/inputs.h"
#include "reference/oracle_common.h"

namespace ringside {
namespace {

/// For each query of a head, whether its logit with the inf token, inf at even and -inf at odd dims, is -inf.
std::vector<bool> weightless_rows(const Case& c, Index batch, Index head) {
  const std::vector<float> q =
      generate(c, TensorId::q, std::span(&batch, 1), {head, head + 1}, {{0, 1, c.seq}});
  std::vector<bool> rows(static_cast<std::size_t>(c.seq), true);
  for (std::size_t i = 0; i < q.size(); ++i) {
    const auto dim = i % static_cast<std::size_t>(c.head_dim);
    if (!(dim % 2 == 0 ? q[i] < 0 : q[i] > 0)) rows[i / static_cast<std::size_t>(c.head_dim)] = false;
  }
  return rows;
}

}  // namespace

EitherRows either_rows(const Case& c, Layout layout, Index block, Out out, Index batch, Index head) {
  EitherRows rows;
  const auto token = poisoned_token(c);
  const Index group = c.heads / c.kv_heads;
  if (!token || batch != token->batch || head / (per_kv_head(out) ? 1 : group) != 0) return rows;
  const Problem problem = c.problem();
  const Index position = token->position;
  const TokenRange seeing = queries_seeing(problem, position);
  if (seeing.count() == 0) return rows;  // a bad token in the padding reaches nobody
  const Index reach = 2 * block * (layout.order == Layout::Order::striped ? c.sp / layout.parts : 1);
  const auto same_document = [document = document_of(problem, position)](Index t) {
    return document.first <= t && t < document.end;
  };
  if (c.causal && !per_kv_head(out)) {
    rows.may_be_nan = [=](Index t) {
      const bool before = t < position && t > position - reach;
      const bool after = t >= seeing.end && t < seeing.end + reach;
      return same_document(t) && (before || after);
    };
  }
  if (c.window > 0 && per_kv_head(out)) {
    rows.may_be_nan = [=, window = c.window](Index t) {
      return same_document(t) && std::abs(t - position) < window + 2 * reach;
    };
  }
  if (c.op == Operator::lightning || c.fill != Fill::inf) return rows;
  if (!per_kv_head(out)) {
    rows.may_be_finite = [weightless = weightless_rows(c, batch, head)](Index t) {
      return weightless[static_cast<std::size_t>(t)];
    };
    return rows;
  }
  // before[t]: rows before t, of any query head of the group, that see the token and are NaN whatever one
  // does
  std::vector<Index> before(static_cast<std::size_t>(c.seq) + 1);
  for (Index h = 0; h < group; ++h) {
    const std::vector<bool> weightless = weightless_rows(c, batch, head * group + h);
    for (Index t = seeing.first; t < seeing.end; ++t) {
      before[static_cast<std::size_t>(t) + 1] += weightless[static_cast<std::size_t>(t)] ? 0 : 1;
    }
  }
  std::partial_sum(before.begin(), before.end(), before.begin());
  rows.may_be_finite = [before = std::move(before), problem](Index t) {
    const TokenRange queries = queries_seeing(problem, t);
    return before[static_cast<std::size_t>(queries.first)] == before[static_cast<std::size_t>(queries.end)];
  };
  return rows;
}

}  // namespace ringside
