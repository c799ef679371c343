#include "harness/run/timeline.h"

#include <algorithm>
#include <initializer_list>

#include "harness/base/intervals.h"
#include "kernels/device.h"

namespace ringside {
namespace {

double seconds(std::int64_t ns) { return 1e-9 * static_cast<double>(ns); }

}  // namespace

Shares shares(const Timeline& timeline) {
  using Kind = Step::Kind;
  const auto during = [&](std::initializer_list<Kind> kinds) {
    Intervals all;
    for (const Step& step : timeline.steps) {
      if (std::ranges::count(kinds, step.kind) > 0) all.push_back({step.begin_ns, step.end_ns});
    }
    return united(std::move(all));
  };
  const Intervals waits = during({Kind::wait});
  Shares shares;
  shares[Share::wait] = seconds(length(waits));
  shares[Share::compute] = seconds(length(minus(during({Kind::compute}), waits)));
  shares[Share::hidden] = seconds(length(minus(during({Kind::message}), waits)));
  shares[Share::other] = seconds(length(minus(during({Kind::pass}), during({Kind::compute, Kind::wait}))));
  return shares;
}

std::vector<Total> compute_totals(const Timeline& timeline) {
  std::vector<Total> totals;
  for (const Step& step : timeline.steps) {
    if (step.kind != Step::Kind::compute) continue;
    auto at = std::ranges::find(totals, timeline.name(step), &Total::name);
    if (at == totals.end()) at = totals.insert(at, {.name = timeline.name(step)});
    ++at->count;
    at->seconds += seconds(step.end_ns - step.begin_ns);
  }
  return totals;
}

Recorder::Recorder(Device* later) : later_(later) {
  timeline_.steps.reserve(1 << 10);
  timeline_.names.reserve(1 << 14);
}

std::int64_t Recorder::settled() const {
  if (later_) later_->synchronize();
  return now();
}

void Recorder::restart() {
  timeline_.steps.clear();
  timeline_.names.clear();
  origin_ = Clock::now();
}

Recorder::Name Recorder::keep(std::string_view name) {
  const Name kept = {static_cast<std::int64_t>(timeline_.names.size()),
                     static_cast<std::int32_t>(name.size())};
  timeline_.names += name;
  return kept;
}

void Recorder::add(Kind kind, Name name, std::int64_t begin_ns, std::int64_t end_ns, std::int64_t bytes) {
  timeline_.steps.push_back({.kind = kind,
                             .name_size = name.size,
                             .name_at = name.at,
                             .begin_ns = begin_ns,
                             .end_ns = end_ns,
                             .bytes = bytes});
}

}  // namespace ringside
