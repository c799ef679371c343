#include "harness/gate/single_run.h"

#include <fmt/format.h>

#include <algorithm>

namespace ringside {
namespace {

constexpr std::size_t kShown = 3;

std::string cases(int n) { return fmt::format("{} case{}", n, n == 1 ? "" : "s"); }

}  // namespace

void SingleRun::add(const Record& base, const Record& head) {
  if (base.setting != head.setting) {
    ++elsewhere_;
    return;
  }
  for (std::size_t i = 0; i < figures().size(); ++i) {
    const auto &before = base.figures[i], &now = head.figures[i];
    if (figures()[i].kind == FieldKind::share && before && now && *now > *before)
      rises_.push_back({*now - *before, *before, *now, figures()[i].name, head.name});
  }
  const auto before = base.figure("tokens_per_s"), now = head.figure("tokens_per_s");
  const auto median = base.figure("forward_backward_s"), quickest = base.figure("forward_backward_min_s"),
             slowest = base.figure("forward_backward_max_s");
  if (!before || !now || !median || !quickest || !slowest) return;
  if (base.oversubscribed || head.oversubscribed) {
    ++oversubscribed_;
  } else {
    speeds_.push_back({*now / *before, *median / *slowest, *median / *quickest, head.name});
  }
}

void SingleRun::add_notes(std::vector<std::string>& notes) const {
  auto rises = rises_;
  std::ranges::stable_sort(rises, std::ranges::greater{}, &Rise::by);
  for (std::size_t i = 0; i < std::min(rises.size(), kShown); ++i) {
    const Rise& r = rises[i];
    notes.push_back(
        fmt::format("{}: {:.4g} -> {:.4g} of its bound, not judged: {}", r.figure, r.before, r.now, r.name));
  }
  auto speeds = speeds_;
  std::ranges::stable_sort(speeds, {}, &Speed::ratio);
  if (!speeds.empty()) {
    notes.push_back(
        fmt::format("throughput, a single run, not judged: {:.3f} of the baseline's in the median of {}",
                    speeds[speeds.size() / 2].ratio, cases(static_cast<int>(speeds.size()))));
  }
  std::erase_if(speeds, [](const Speed& s) { return s.ratio >= s.low; });
  for (std::size_t i = 0; i < std::min(speeds.size(), kShown); ++i) {
    const Speed& s = speeds[i];
    notes.push_back(
        fmt::format("throughput {:.3f} of the baseline's, whose iterations spread from {:.3f} to {:.3f}: {}",
                    s.ratio, s.low, s.high, s.name));
  }
  if (oversubscribed_ > 0)
    notes.push_back(fmt::format("times of {} not compared: more ranks than cores", cases(oversubscribed_)));
  if (elsewhere_ > 0) {
    notes.push_back(
        fmt::format("times and shares of bounds of {} not compared: the baseline is of another "
                    "machine, build, device, communicator or world",
                    cases(elsewhere_)));
  }
}

}  // namespace ringside
