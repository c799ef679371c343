#include "harness/sweep/random_cases.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "harness/judge/standard.h"

namespace ringside {
namespace {

constexpr double kMostWork = 1e8;  ///< b·h·n²·(d + e)
constexpr int kMostRanks = 8;

double work(const Case& c) {
  const auto size = [](Index x) { return static_cast<double>(x); };
  return size(c.batch) * size(c.heads) * size(c.seq) * size(c.seq) * size(c.head_dim + c.value_dim);
}

}  // namespace

Index RandomCases::between(Index low, Index high) {
  return low + static_cast<Index>(random_() % static_cast<std::uint64_t>(high - low + 1));
}

Index RandomCases::size_up_to(Index high) {
  const double most = std::log(static_cast<double>(high) + 0.5);
  const double share = static_cast<double>(between(0, 1 << 20)) / (1 << 20);
  return std::clamp<Index>(std::llround(std::exp(share * most)), 1, high);
}

void RandomCases::draw_documents(Case& c) {
  if (between(0, 2) == 0) {
    if (between(0, 1) == 0) c.padding = between(0, std::min<Index>(c.seq - 1, 70));
    const Index tokens = c.seq - c.padding;
    std::vector<Index> bounds = {0, tokens};
    for (Index i = between(0, 8); i > 0; --i) {
      const Index bound = between(0, tokens);  // with its neighbour: a document of one token
      bounds.insert(bounds.end(), {bound, std::min(bound + between(0, 1), tokens)});
    }
    std::ranges::sort(bounds);
    bounds.erase(std::ranges::unique(bounds).begin(), bounds.end());
    if (c.padding == 0 || between(0, 3) > 0) c.cu_seqlens = std::move(bounds);
  }
  if (c.op == Operator::softmax && c.causal && between(0, 2) == 0) c.window = size_up_to(c.seq);
}

Case RandomCases::problem() {
  Case c;
  do {
    c.op = between(0, 1) == 0 ? Operator::softmax : Operator::lightning;
    c.dtype = one_of(kDTypes);
    c.math = one_of(kMaths);
    c.fill = between(0, 1) == 0 ? Fill::gaussian : one_of(kFills);
    c.batch = between(1, 4);
    c.kv_heads = between(1, 4);
    c.heads = c.kv_heads * between(1, 4);
    c.head_dim = size_up_to(96);
    c.value_dim = size_up_to(96);
    c.seq = size_up_to(2000);
    c.causal = c.op == Operator::lightning || between(0, 2) > 0;
    c.decay = {};
    constexpr std::array slopes = {0.0F, 0.001F, 0.05F, 1.0F, 30.0F};
    if (c.op == Operator::lightning && between(0, 1) == 0) c.decay = {one_of(slopes)};
    c.seed = random_() >> 33;
  } while (work(c) > kMostWork);
  draw_documents(c);
  if (c.op == Operator::softmax && c.fill != Fill::inf && c.fill != Fill::nan && between(0, 3) == 0)
    c.partials = one_of(std::array{DType::bf16, DType::fp16});
  c.variant = single_rank_variant(c.op).name;
  return c;
}

std::vector<Case> RandomCases::runs_of(const Case& problem, int count) {
  std::vector<Case> runs;
  while (std::ssize(runs) < count) {
    const Variant& variant = one_of(variants());
    if (variant.op != problem.op) continue;
    Case c = problem;
    c.variant = variant.name;
    c.dp = static_cast<int>(between(1, c.batch));
    c.sp = static_cast<int>(between(1, kMostRanks));
    if (c.batch % c.dp != 0 || c.ranks() > kMostRanks || variant.unsupported(c.local_problem(), c.sp))
      continue;
    runs.push_back(std::move(c));
  }
  return runs;
}

}  // namespace ringside
