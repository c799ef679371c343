#include <fmt/format.h>

#include "harness/cases/select_cases.h"
#include "harness/sweep/commands.h"
#include "harness/sweep/plan.h"
#include "harness/sweep/session.h"
#include "reference/error.h"

namespace ringside {
namespace {

/// The terms of the bound at the element that comes closest to it.
void explain_tensor(Out out, const TensorVerdict& v, const Case& c) {
  const Element& w = v.stats.worst;
  if (v.stats.max_share == 0) {
    fmt::print("  {}: every element equals the reference\n", to_string(out));
    return;
  }
  const double u_acc = unit_roundoff(DType::fp32), u_store = unit_roundoff(c.dtype);
  fmt::print("  {}: batch {}, head {}, position {}, dim {}, held by rank {}\n", to_string(out), w.batch,
             w.head, w.token, w.dim, w.rank);
  fmt::print("    got {:.9g}, reference {:.17g}, difference {:.4g}, {:.4f} of the bound\n", w.value,
             w.expected, w.value - w.expected, v.stats.max_share);
  fmt::print("    bound {:.4g}\n", w.bound());
  fmt::print(
      "      accumulation {:.4g} = u {:.4g} (fp32) x {:.6g} (roundings x sum of |terms|, "
      "reference/error_model.h)\n",
      w.parts.accumulated, u_acc, w.parts.accumulated / u_acc);
  fmt::print(
      "      storage      {:.4g} = u {:.4g} ({}) x {:.6g}{}\n", w.parts.stored, u_store, to_string(c.dtype),
      w.parts.stored / u_store,
      c.partials == DType::fp32 ? "" : fmt::format(", partial results in {} with it", to_string(c.partials)));
  fmt::print("      underflow    {:.4g} (kernels flush denormals)\n", w.parts.floor);
  fmt::print(
      "    row limit: worst row (batch {}, head {}, position {}) at {:.3f} of {} x the control run's "
      "envelope\n",
      v.worst_row.batch, v.worst_row.head, v.worst_row.token, v.row_share, kRowFactor);
  if (v.error_share > 0) fmt::print("    relative error: {:.2g} of its limit\n", v.error_share);
  fmt::print("    bias {:.3g}, limit {:.3g}\n", v.bias, v.bias_limit);
}

}  // namespace

int explain(const ExplainOptions& options) {
  return in_session(options, [&](const Runner& runner) {
    int ran = 0, wrong = 0;
    Standards standards;
    const bool is_root = runner.fleet.is_root();
    const auto untimed = [](const Case&) { return 0; };
    const Plan plan = make_plan(select_cases(options.cases, options.filter), runner.fleet.world(), untimed, 1,
                                runner.device);
    for (const PlannedCase& planned : plan.cases) {
      if (planned.skip) {
        if (is_root) fmt::print("{}: skipped: {}\n", planned.c.name(), *planned.skip);
        continue;
      }
      const CaseResult result =
          run_case(runner, {planned.c, *planned.variant}, standards.of(planned.c, runner));
      ++ran;
      wrong += is_red(result.status);
      if (!is_root) continue;
      fmt::print("{}: {}\n", planned.c.name(), to_string(result.status));
      for (const Out out : kOuts) explain_tensor(out, result.tensors[out], planned.c);
    }
    if (ran == 0) throw UsageError("no case ran");
    return wrong > 0 ? 1 : 0;
  });
}

}  // namespace ringside
