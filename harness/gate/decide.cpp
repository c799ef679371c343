#include "harness/gate/decide.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "harness/base/statistics.h"

namespace ringside {
namespace {

/// What the rounds of one stage come to. `sign`: 1 if head looks slower, -1 faster.
struct Stage {
  double log_ratio = 0;  ///< median
  ConfidenceInterval interval{};
  double sign = 1;
  double p = 1;  ///< that so much points to `sign` by chance

  bool beyond(double log_delta) const { return std::fabs(log_ratio) > log_delta; }
  bool whole_interval_beyond(double log_delta) const {
    return sign > 0 ? interval.low > log_delta : interval.high < -log_delta;
  }
};

std::vector<double> values(const std::vector<Round>& rounds, double Round::*of, double factor = 1) {
  std::vector<double> all;
  for (const Round& round : rounds) all.push_back(factor * (round.*of));
  return all;
}

/// Makes a stage's rounds and enters what they say. Empty, with the verdict, if too many were contaminated.
/// `sign`: of the suspicion; 0: to whichever side they point.
std::optional<Stage> run_stage(int wanted, double sign, const NextRound& next, TimedFinding& finding) {
  const Rounds rounds = make_rounds(wanted, next);
  finding.rounds += static_cast<int>(rounds.kept.size());
  finding.contaminated += rounds.contaminated;
  if (!rounds.complete) {
    finding.verdict = TimeVerdict::contaminated;
    finding.why = fmt::format("the control departed in {} of {} rounds", rounds.contaminated,
                              static_cast<std::size_t>(rounds.contaminated) + rounds.kept.size());
    return std::nullopt;
  }
  const std::vector<double> ratios = values(rounds.kept, &Round::log_ratio);
  Stage stage = {.log_ratio = median(ratios), .interval = median_interval(ratios, kConfidence), .sign = sign};
  if (sign == 0) stage.sign = stage.log_ratio < 0 ? -1 : 1;
  stage.p = signed_rank_p(values(rounds.kept, &Round::log_ratio, stage.sign));
  finding.ratio = std::exp(stage.log_ratio);
  finding.low = std::exp(stage.interval.low);
  finding.high = std::exp(stage.interval.high);
  finding.p = stage.p;
  finding.base_s = median(values(rounds.kept, &Round::base_s));
  finding.head_s = median(values(rounds.kept, &Round::head_s));
  return stage;
}

}  // namespace

Round Round::of(const std::array<double, 4>& arms_s, const std::array<double, 4>& control_s) {
  const auto log_ratio = [](const std::array<double, 4>& t) {
    return (std::log(t[1]) + std::log(t[2]) - std::log(t[0]) - std::log(t[3])) / 2;
  };
  return {.log_ratio = log_ratio(arms_s),
          .control_log_ratio = log_ratio(control_s),
          .base_s = std::sqrt(arms_s[0] * arms_s[3]),
          .head_s = std::sqrt(arms_s[1] * arms_s[2])};
}

double delta_of(std::span<const double> noise) {
  if (noise.size() < kEnoughNoise) return kLeastDelta;
  std::vector<double> magnitudes;
  for (const double x : noise) magnitudes.push_back(std::fabs(x));
  return std::max(kLeastDelta, std::expm1(2 * percentile(magnitudes, 0.95)));
}

bool contaminated(const Round& round) {
  return !(std::fabs(round.control_log_ratio) <= std::log1p(kControlLimit));
}

Rounds make_rounds(int wanted, const NextRound& next) {
  Rounds rounds;
  while (static_cast<int>(rounds.kept.size()) < wanted) {
    const Round round = next();
    if (!contaminated(round)) {
      rounds.kept.push_back(round);
    } else if (++rounds.contaminated > wanted) {
      rounds.complete = false;
      break;
    }
  }
  return rounds;
}

TimedFinding decide(const std::string& name, std::span<const double> noise, const NextRound& next) {
  TimedFinding finding = {.name = name, .verdict = TimeVerdict::same, .delta = delta_of(noise)};
  const double log_delta = std::log1p(finding.delta);

  const auto suspicion = run_stage(kSuspectRounds, 0, next, finding);
  if (!suspicion) return finding;
  if (!suspicion->beyond(log_delta)) {
    finding.why = "within delta";
    return finding;
  }
  if (suspicion->p > kSuspectP) {
    finding.verdict = TimeVerdict::ambiguous;
    finding.why = "beyond delta, but the rounds disagree";
    return finding;
  }

  const auto stage = run_stage(kConfirmRounds, suspicion->sign, next, finding);
  if (!stage) return finding;
  if (!stage->beyond(log_delta)) {
    finding.why = "suspect, but within delta in 15 fresh rounds";
  } else if (stage->p > kConfirmP || !stage->whole_interval_beyond(log_delta)) {
    finding.verdict = TimeVerdict::ambiguous;
    finding.why = "beyond delta, but not for certain";
  } else if (noise.size() < kEnoughNoise) {
    finding.verdict = TimeVerdict::ambiguous;
    finding.why = fmt::format("{}, but {} A/A rounds of {} are known: --calibrate",
                              stage->sign > 0 ? "slower" : "faster", noise.size(), kEnoughNoise);
  } else {
    finding.verdict = stage->sign > 0 ? TimeVerdict::slow : TimeVerdict::fast;
    finding.why = "confirmed by 15 fresh rounds";
  }
  return finding;
}

}  // namespace ringside
