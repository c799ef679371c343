// Decides from rounds of paired timing: slow, fast, or neither. No clock, no process: rounds come from
// whoever calls.
#pragma once

#include <array>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "harness/gate/report.h"

namespace ringside {

/// One round: base, head, head, base, each in a process of its own, with a run of the control beside each.
/// Of four times t the log-ratio is (ln t2 + ln t3 - ln t1 - ln t4)/2: a drift that is linear in time (of the
/// logarithm) cancels.
struct Round {
  double log_ratio = 0;           ///< of head to base
  double control_log_ratio = 0;   ///< of the control beside them
  double base_s = 0, head_s = 0;  ///< an iteration's time: geometric mean of the arm's two

  /// From the times of base, head, head, base, and of the control beside them.
  static Round of(const std::array<double, 4>& arms_s, const std::array<double, 4>& control_s);
};

/// Makes one more round.
using NextRound = std::function<Round()>;

inline constexpr int kSuspectRounds = 7;       ///< of stage 1
inline constexpr int kConfirmRounds = 15;      ///< of stage 2
inline constexpr double kSuspectP = 0.05;      ///< attained: 5/128, see signed_rank_p()
inline constexpr double kConfirmP = 0.001;     ///< attained: 25/32768
inline constexpr double kConfidence = 0.95;    ///< of intervals
inline constexpr double kLeastDelta = 0.03;    ///< no slowdown below this is one
inline constexpr double kControlLimit = 0.05;  ///< a control that departs by more spoils its round
/// The least number of A/A log-ratios that tell noise: fewer, and the 95th percentile is their largest.
inline constexpr std::size_t kEnoughNoise = 20;

/// max(3%, twice the 95th percentile of |A/A log-ratio|, as a ratio less 1); 3% while there are fewer than
/// kEnoughNoise.
double delta_of(std::span<const double> noise);

/// Whether the control spoils the round.
bool contaminated(const Round& round);

/// Rounds that count, from `next`; those whose control departs are made again, at most `wanted` of them.
struct Rounds {
  std::vector<Round> kept{};
  int contaminated = 0;
  bool complete = true;  ///< false: too many were contaminated
};
Rounds make_rounds(int wanted, const NextRound& next);

/// Decides on one case in two stages. Stage 1, 7 rounds: suspect if the median ratio is above 1+δ (below
/// 1/(1+δ)) and p <= 0.05. Stage 2, suspects only, 15 fresh rounds: SLOW (FAST) only if the whole 95%
/// interval of the median ratio lies there and p <= 0.001. SAME if the median is within δ in the stage that
/// decides; else AMBIGUOUS, and so is what would be SLOW or FAST while `noise`, the A/A log-ratios of this
/// case on such machines, has fewer than kEnoughNoise values. CONTAMINATED if a stage's control departs too
/// often.
///
/// False alarms, if rounds of equal programs are independent and symmetric about 0: at most 5/128·25/32768 =
/// 3e-5 a case and side by the two tests alone, however large the noise. If moreover the noise is that of the
/// history, the 19th of whose 20 magnitudes is δ/2 at most (in logarithms), a round's exceeds it with a
/// probability q ~ Beta(2, 19), on average 2/21. The interval lies above δ only if 12 of 15 rounds do, which
/// even above δ/2 they do with a probability of 455 E (q/2)^12 = 3e-9 or so.
TimedFinding decide(const std::string& name, std::span<const double> noise, const NextRound& next);

}  // namespace ringside
