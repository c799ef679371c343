#include "harness/either.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "harness/inputs.h"

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

EitherRows either_rows(const Case& c, Layout layout, Out out, Index batch, Index head) {
  EitherRows rows;
  const auto token = poisoned_token(c);
  const Index group = c.heads / c.kv_heads;
  if (!token || batch != token->batch || head / (per_kv_head(out) ? 1 : group) != 0) return rows;
  const Index position = token->position;
  if (c.causal && !per_kv_head(out)) {
    const Index reach = 2 * 64 * (layout.order == Layout::Order::striped ? c.sp : 1);
    rows.may_be_nan = [=](Index t) { return t < position && t > position - reach; };
  }
  if (c.op == Operator::lightning || c.fill != Fill::inf) return rows;
  if (!per_kv_head(out)) {
    rows.may_be_finite = [weightless = weightless_rows(c, batch, head)](Index t) {
      return weightless[static_cast<std::size_t>(t)];
    };
    return rows;
  }
  // the last row, of any query head of the group, that sees the token and is NaN whatever one does
  Index last = -1;
  for (Index h = 0; h < group; ++h) {
    const std::vector<bool> weightless = weightless_rows(c, batch, head * group + h);
    for (Index t = c.causal ? position : 0; t < c.seq; ++t) {
      if (!weightless[static_cast<std::size_t>(t)]) last = std::max(last, t);
    }
  }
  rows.may_be_finite = [last, causal = c.causal](Index t) { return causal ? last < t : last < 0; };
  return rows;
}

}  // namespace ringside
