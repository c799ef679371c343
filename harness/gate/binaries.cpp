// gate --base --head: verdicts and exact figures of two programs, then their times in pairs.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <random>

#include "harness/base/fingerprint.h"
#include "harness/base/statistics.h"
#include "harness/cases/select_cases.h"
#include "harness/gate/arms.h"
#include "harness/gate/binaries.h"
#include "harness/gate/gate_results.h"
#include "harness/gate/noise.h"
#include "harness/report/progress.h"
#include "reference/error.h"

namespace ringside {
namespace {

using Records = std::map<std::string, Record>;

const Record* find_record(const Records& records, const std::string& name) {
  const auto at = records.find(name);
  return at == records.end() ? nullptr : &at->second;
}

/// Verdicts, and figures that are the same on any machine. What passed and now does not is red, though it may
/// have been skipped for a reason or be a known fault; so is a figure that head does not tell any more.
void compare_pair(const Record& base, const Record& head, GateReport& report) {
  if (is_red(head) || head.status != base.status) {
    report.exact.push_back({.name = head.name,
                            .what = "status",
                            .base = base.status,
                            .head = status_text(head),
                            .red = is_red(head) || base.status == "pass"});
  }
  if (!ran(head)) return;
  for (std::size_t i = 0; i < figures().size(); ++i) {
    const Field& figure = figures()[i];
    if (figure.kind != FieldKind::exact) continue;
    if (auto finding = figure_finding(head.name, figure, base.figures[i], head.figures[i]))
      report.exact.push_back(std::move(*finding));
  }
}

/// Why cases are not timed, with how many they are and the first of them.
class Untimed {
 public:
  void add(const std::string& why, const std::string& name) {
    auto& [count, first] = reasons_[why];
    if (count++ == 0) first = name;
  }
  void tell(GateReport& report) const {
    for (const auto& [why, cases] : reasons_) {
      report.notes.push_back(cases.first == 1 ? fmt::format("{} is not timed: {}", cases.second, why)
                                              : fmt::format("{} cases, the first {}, are not timed: {}",
                                                            cases.first, cases.second, why));
    }
  }

 private:
  std::map<std::string, std::pair<int, std::string>> reasons_;
};

/// Empty if the case can be timed. `processes`: that are started, of which a case may leave some idle, though
/// not at rest.
std::optional<std::string> why_untimed(const Case& c, const Record* base, const Record* head, int processes) {
  if (base == nullptr) return "base has no such case";
  if (head == nullptr) return "head has no such case";
  if (is_red(*base) || is_red(*head))
    return fmt::format("its result is wrong in {}", is_red(*head) ? "head" : "base");
  if (!ran(*base) || !ran(*head)) return "skipped: " + (ran(*base) ? head : base)->reason;
  if (head->oversubscribed || std::max(c.ranks(), processes) > usable_cores()) {
    return fmt::format("more ranks than the {} cores here", usable_cores());
  }
  return std::nullopt;
}

/// "+0.3 -1.2 …": rounds in percent.
std::string percents(const std::vector<double>& log_ratios) {
  std::string text;
  for (const double x : log_ratios) text += fmt::format(" {:+.1f}", 100 * std::expm1(x));
  return text;
}

class Gate {
 public:
  explicit Gate(const GateOptions& options)
      : options_(options),
        cases_(select_cases(options.results, options.filter)),
        arms_(options),
        head_(arms_.arm("head", options.head)),
        base_(options.calibrate ? head_ : arms_.arm("base", options.base)) {
    report_.base = fmt::format("{} ({})", base_.commit, base_.binary);
    report_.head = fmt::format("{} ({})", head_.commit, head_.binary);
    report_.seed = options.seed ? static_cast<std::uint64_t>(*options.seed) : std::random_device()();
  }

  int run() {
    fmt::print(stderr, "{} cases, {}; base {}, head {}; seed {}\n", cases_.size(), arms_.ranks(),
               report_.base, report_.head, report_.seed);
    try {
      compare_verdicts();
      time_all();
    } catch (const InfrastructureError& error) {
      report_.unfinished = error.what();
    }
    untimed_.tell(report_);
    const int status = publish(report_, options_);
    if (!report_.unfinished.empty()) throw InfrastructureError(report_.unfinished);
    return status;
  }

 private:
  void compare_verdicts() {
    heads_ = arms_.sweep(head_);
    bases_ = options_.calibrate ? heads_ : arms_.sweep(base_);
    for (const Case& c : cases_) {
      const Record *base = find_record(bases_, c.name()), *head = find_record(heads_, c.name());
      if (head != nullptr) report_.fingerprint = head->setting.fingerprint;
      if (base != nullptr && head != nullptr) {
        ++report_.cases;
        report_.names.push_back(head->name);
        compare_pair(*base, *head, report_);
      } else if (head != nullptr && is_red(*head)) {
        report_.exact.push_back({c.name(), "status", "none", status_text(*head), true});
      } else if (base != nullptr && ran(*base)) {
        report_.exact.push_back({c.name(), "status", base->status, "absent", true});
      }
    }
    if (std::ranges::none_of(heads_, [](const auto& head) { return ran(head.second); }) &&
        report_.exact.empty())
      throw UsageError(fmt::format("{}: no case ran", options_.results));
    if (report_.cases == 0 && report_.exact.empty())
      throw UsageError(fmt::format("{}: base and head have no case of it in common", options_.results));
    if (const std::string& other = bases_.begin()->second.setting.fingerprint; other != report_.fingerprint) {
      built_alike_ = false;
      report_.notes.push_back(
          fmt::format("base was built otherwise (fingerprint {}): its times differ by more "
                      "than the commits, and none is SLOW or FAST",
                      other));
    }
  }

  std::string noise_file() const {
    if (options_.noise) return *options_.noise;
    return fmt::format("{}/{}/noise.csv", options_.baseline.empty() ? "baselines" : options_.baseline,
                       report_.fingerprint);
  }

  void time_all() {
    const std::vector<CaseNoise> history = read_noise(noise_file());
    if (options_.calibrate) require_noise(noise_file());
    std::vector<const Case*> timed;
    for (const std::size_t i : shuffled(cases_.size(), report_.seed)) {
      const Case& c = cases_[i];
      const auto why = why_untimed(c, find_record(bases_, c.name()), find_record(heads_, c.name()),
                                   options_.mpi.value_or(0));
      if (why) {
        untimed_.add(*why, c.name());
      } else {
        timed.push_back(&c);
      }
    }
    Progress progress(true, static_cast<int>(timed.size()));
    for (const Case* c : timed) {
      const CaseNoise noise = {.name = c->name(), .ranks = arms_.ranks(), .device = options_.device};
      progress.begin(noise.name);
      std::vector<double> log_ratios;
      const NextRound next = [&] {
        const Round round = arms_.round(base_, head_, *c);
        progress.begin(fmt::format("{} {:+.1f}%{}", noise.name, 100 * std::expm1(round.log_ratio),
                                   contaminated(round) ? " contaminated" : ""));
        if (!contaminated(round)) log_ratios.push_back(round.log_ratio);
        return round;
      };
      if (options_.calibrate) {
        calibrate(noise, next, progress);
        continue;
      }
      // without noise nothing is SLOW or FAST
      const auto known = built_alike_ ? find_noise(history, noise) : std::span<const double>{};
      report_.timed.push_back(decide(noise.name, known, next));
      const TimedFinding& found = report_.timed.back();
      progress.done(fmt::format("{} {}: {}, {} contaminated; rounds, in %:{}", to_string(found.verdict),
                                noise.name, found.why, found.contaminated, percents(log_ratios)));
    }
  }

  void calibrate(CaseNoise noise, const NextRound& next, Progress& progress) {
    const Rounds rounds = make_rounds(static_cast<int>(kEnoughNoise), next);
    for (const Round& round : rounds.kept) noise.log_ratios.push_back(round.log_ratio);
    if (!noise.log_ratios.empty()) add_noise(noise_file(), noise, head_.commit, utc_now());
    const std::vector<CaseNoise> all = read_noise(noise_file());
    const auto known = find_noise(all, noise);
    const std::string line =
        fmt::format("{}: {} of {} A/A rounds added to {}, {} contaminated; of its newest {}, {}", noise.name,
                    noise.log_ratios.size(), kEnoughNoise, noise_file(), rounds.contaminated, known.size(),
                    known.size() < kEnoughNoise ? fmt::format("{} are needed for a verdict", kEnoughNoise)
                                                : fmt::format("delta is {:.1f}%", 100 * delta_of(known)));
    report_.notes.push_back(line);
    progress.done(line + ";" + percents(noise.log_ratios));
  }

  const GateOptions& options_;
  const std::vector<Case> cases_;
  const Arms arms_;
  const Arm head_, base_;
  Records bases_, heads_;
  bool built_alike_ = true;
  Untimed untimed_;
  GateReport report_;
};

}  // namespace

int gate_binaries(const GateOptions& options) {
  if (!options.calibrate && options.base.empty()) {
    throw UsageError("gate: --base BINARY is missing: with what shall --head be compared?");
  }
  if (options.calibrate && !options.base.empty() && options.base != options.head) {
    throw UsageError("gate: --calibrate times --head against itself: leave --base out");
  }
  return Gate(options).run();
}

}  // namespace ringside
