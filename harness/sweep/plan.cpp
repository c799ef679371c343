#include "harness/sweep/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "harness/cases/select_cases.h"
#include "harness/judge/standard.h"
#include "harness/results/throughput.h"

namespace ringside {
namespace {

/// Rates for the time estimate, FLOP/s a core: what an AVX2 core of 2021 was seen to reach, to within a
/// factor of two for others.
constexpr double kVariantRate = 40e9;
constexpr double kOracleRate = 8e9;
constexpr double kCaseOverhead = 1e-3;  ///< seconds a rank: threads, groups, devices
constexpr double kRunsPerCheck = 2;     ///< causality makes four, most make one
constexpr double kElementRate = 20e6;   ///< elements made, moved and compared a second

std::optional<std::string> why_skip(const Case& c, const Variant& variant, std::optional<int> world,
                                    const DeviceEntry& device) {
  if (world && c.ranks() > *world) {
    return fmt::format("needs {} ranks (dp {} x sp {}), there are {}", c.ranks(), c.dp, c.sp, *world);
  }
  if (auto why = variant.unsupported(c.local_problem(), c.sp)) return why;
  return device.unsupported(c.local_problem(), c.dtype, c.math);
}

double elements_of(const Problem& p) {
  double total = 0;
  for (const Shape& shape : {p.q_shape(), p.k_shape(), p.v_shape(), p.o_shape()}) {
    total += static_cast<double>(shape.size());
  }
  return total;  // of q, k, v, do; the outputs are as many
}

/// Part of the query rows that the reference computes.
double sampled_share(const Case& c) {
  return c.samples() ? static_cast<double>(c.sample) / static_cast<double>(c.seq) : 1;
}

/// Bytes of Truth and of the control run, which live as long as the standard.
double standard_bytes(const Problem& p, bool partials) {
  const auto size = [](const Shape& shape) { return static_cast<double>(shape.size()); };
  double bytes = elements_of(p) * (8 + 4 + 4);  // value, error; control
  if (p.op == Operator::softmax) bytes += 8 * (size(p.q_shape()) + size(p.k_shape()));  // storage
  if (p.group() > 1) bytes += 8 * (size(p.k_shape()) + size(p.v_shape()));              // shares
  if (partials) bytes += 8 * elements_of(p);
  return bytes;
}

/// Of the oracles' threads. Softmax: two panels of 128 rows, k, v, dk and dv as they are and their
/// magnitudes, of v the largest too, all fp64 and as long as the sequence; lightning goes through it in
/// pieces.
double oracle_bytes(const Problem& p, int cores) {
  if (p.op == Operator::lightning) return 0;
  const double threads = std::min<double>(cores, static_cast<double>(p.batch * p.kv_heads));
  return threads * 8 * static_cast<double>(p.seq * (2 * 128 + 5 * p.head_dim + 6 * p.value_dim));
}

}  // namespace

Estimate estimate(const Case& c, const Repeats& repeats, int cores) {
  const Problem whole = c.problem();
  const Variant& variant = *find_variant(c.variant, c.op);
  const double elements = elements_of(whole);
  const auto ranks = static_cast<double>(c.ranks());
  const auto stored = static_cast<double>(size_of(c.dtype));
  const double making = elements * 4 + oracle_bytes(whole, cores);  // operands, beside the standard
  const auto checks = static_cast<double>(c.checks.size());
  // inputs in host and device memory, outputs in host's; a check has its own beside those
  const double hosts = elements * (3 * stored + (checks > 0 ? 4 * stored + 4 : 0));
  // as if all held what the middle one does, and all that forward held until the end
  const PassMemory memory = variant.memory(c.local_problem(), c.dtype, c.sp, c.sp / 2);
  const double in_forward = ranks * static_cast<double>(memory.forward);
  const double in_backward = ranks * static_cast<double>(memory.backward);
  const Work useful = useful_work(whole);
  // what forward holds beyond inputs and results in fp32 is materialised: the result or the operand of
  // products over d or e, seven in both passes
  const double materialised =
      7 * std::max(0.0, in_forward / 4 - elements) * static_cast<double>(c.head_dim + c.value_dim);
  const double flops = std::max(useful.forward + useful.backward, materialised);
  const int iterations = repeats(c) == 1 ? 2 : repeats(c);  // one on other inputs
  return {.bytes = standard_bytes(whole, c.partials != DType::fp32) +
                   std::max(making, hosts + in_forward + in_backward),
          .seconds = kCaseOverhead * ranks + elements / kElementRate / cores +
                     flops * (1 + iterations + kRunsPerCheck * checks) / kVariantRate /
                         std::min<double>(cores, ranks)};
}

Plan make_plan(std::vector<Case> cases, std::optional<int> world, const Repeats& repeats, int cores,
               const DeviceEntry& device) {
  Plan plan;
  std::map<std::string, int> problems;  // in the order of their first cases
  for (Case& c : cases) {
    const Variant& variant = *find_variant(c.variant, c.op);
    const auto number = static_cast<int>(problems.size());
    const int problem = problems.try_emplace(standard_key(c), number).first->second;
    plan.cases.push_back({c, &variant, why_skip(c, variant, world, device), problem});
  }
  std::ranges::stable_sort(plan.cases, {}, &PlannedCase::problem);
  int last = -1;  // problem that runs
  for (const PlannedCase& planned : plan.cases) {
    if (planned.skip) continue;
    ++plan.to_run;
    const Estimate needs = estimate(planned.c, repeats, cores);
    plan.needs.bytes = std::max(plan.needs.bytes, needs.bytes);
    plan.needs.seconds += needs.seconds;
    if (std::exchange(last, planned.problem) != planned.problem) {
      ++plan.standards;
      const Work work = useful_work(planned.c.problem());
      plan.needs.seconds +=
          (work.forward + work.backward) * 2 * sampled_share(planned.c) / kOracleRate / cores;
    }
  }
  return plan;
}

}  // namespace ringside
