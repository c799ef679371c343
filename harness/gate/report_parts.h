// Words and orders that the forms of the report share.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "harness/gate/report.h"

namespace ringside {

// The members of findings as gate_json() names them, in order: visit(key, member)(key, member)…

template <typename Visit>
void each_member(ExactFinding& f, const Visit& visit) {
  visit("name", f.name)("what", f.what)("base", f.base)("head", f.head)("red", f.red);
}

template <typename Visit>
void each_member(TimedFinding& f, const Visit& visit) {
  visit("name", f.name)("verdict", f.verdict)("ratio", f.ratio)("low", f.low)("high", f.high)("p", f.p)(
      "delta", f.delta)("rounds", f.rounds)("contaminated", f.contaminated)("base_s", f.base_s)(
      "head_s", f.head_s)("why", f.why);
}

template <typename Visit>
void each_member(HistoryFinding& f, const Visit& visit) {
  visit("name", f.name)("figure", f.figure)("before", f.before)("after", f.after)("since", f.since)(
      "points", f.points)("slower", f.slower);
}

// Worst first; of equals in the order of the report.
std::vector<ExactFinding> worst_first(std::vector<ExactFinding> findings);
std::vector<TimedFinding> worst_first(std::vector<TimedFinding> findings);
std::vector<HistoryFinding> worst_first(std::vector<HistoryFinding> findings);

int count(const GateReport& report, TimeVerdict verdict);
int count_red(const GateReport& report);  ///< exact findings

/// "RED", "better", of an exact finding.
std::string_view word(const ExactFinding& finding);

std::string seconds_text(double seconds);                  ///< "12.3 ms"
std::string ratio_text(const TimedFinding& finding);       ///< "1.083 [1.051, 1.117]"
std::string rounds_text(const TimedFinding& finding);      ///< "15", "15 of 17": two were contaminated
std::string arms_text(const TimedFinding& finding);        ///< "12.3 ms -> 13.4 ms"
std::string decided_text(const TimedFinding& finding);     ///< "p 0.0004, delta 3.0%; why"
std::string segments_text(const HistoryFinding& finding);  ///< "12.3 ms -> 13.4 ms since 1f2e, 24 points"
/// "machine …, seed …", what there is of them.
std::string circumstances(const GateReport& report);

}  // namespace ringside
