// The gate's report: findings, timings and exit status.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ringside {

/// Of the time of a case, head against base.
enum class TimeVerdict { same, fast, slow, ambiguous, contaminated };

std::string_view to_string(TimeVerdict verdict);  ///< "SAME" …

/// Layer A: a verdict, or a figure that is the same on any machine, departs from the base's.
struct ExactFinding {
  std::string name{};  ///< of the case
  std::string what{};  ///< "status", "peak_bytes" …
  std::string base{}, head{};
  bool red = false;  ///< worse; else it is better, or new, and only told
};

/// Layer B: a case timed in pairs.
struct TimedFinding {
  std::string name{};
  TimeVerdict verdict = TimeVerdict::ambiguous;
  double ratio = 1;               ///< time of head / time of base, median over rounds
  double low = 1, high = 1;       ///< 95% bootstrap interval of it
  double p = 1;                   ///< of the one-sided signed-rank test that decided
  double delta = 0;               ///< a slowdown up to 1 + delta is none
  int rounds = 0;                 ///< that count
  int contaminated = 0;           ///< rounds that do not, as their control departed
  double base_s = 0, head_s = 0;  ///< medians of an iteration's time
  std::string why{};              ///< in a few words: what decided, or what is missing
};

/// Layer C: the last step in a series of equal fingerprint.
struct HistoryFinding {
  std::string name{}, figure{};
  double before = 0, after = 0;  ///< means of the segments, seconds
  std::string since{};           ///< first commit of the new segment
  int points = 0;                ///< of the series
  bool slower = false;
};

struct GateReport {
  std::string base{}, head{};        ///< what is compared: "1f2e3d4c5b6a (baselines/…)"
  std::string fingerprint{};         ///< of head
  std::uint64_t seed = 0;            ///< of the order of cases; 0: nothing was random
  int cases = 0;                     ///< compared
  std::vector<std::string> names{};  ///< of the cases that layer A compared, for JUnit
  std::vector<ExactFinding> exact{};
  std::vector<TimedFinding> timed{};
  std::vector<HistoryFinding> history{};
  std::vector<std::string> notes{};  ///< what was not compared, and why
  std::string unfinished{};          ///< why the gate did not come to its end; empty: it did
};

/// 5 if the gate did not come to its end, 1 if an exact finding is red, else 3 if a case is SLOW, else, if
/// `strict`, 4 if one is AMBIGUOUS or CONTAMINATED; else 0.
int exit_status(const GateReport& report, bool strict);

/// "RED (exit status 1): 2 of 40 cases are worse than the baseline", a line.
std::string verdict_line(const GateReport& report);
/// For people: findings, worst first, a line each, the verdict last.
std::string gate_table(const GateReport& report);
/// A summary that a CI job can post.
std::string gate_markdown(const GateReport& report);
/// Version of gate_json(); it grows when a member changes its meaning or goes.
inline constexpr int kGateSchema = 1;
/// Everything, for tools.
std::string gate_json(const GateReport& report);
/// What gate_json() wrote to `file`. Throws UsageError "file: message" for anything else.
GateReport read_gate_report(const std::string& file);
/// JUnit XML: a test suite for each layer that has something, a test case for each case in it.
std::string gate_junit(const GateReport& report);

}  // namespace ringside
