// What a person reads after a sweep.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "harness/run_case.h"

namespace ringside {

/// Accuracy: for each case a heading and a line a tensor, with LASP's published figures if they are about any
/// of the cases.
std::string accuracy_table(const std::vector<CaseResult>& results);

/// Times, throughput, traffic and memory: a line a case.
std::string performance_table(const std::vector<CaseResult>& results);

/// Where the time of a sweep went, in shares of its wall time; "the rest" is what no phase accounts for.
std::string time_summary(const Phases& phases, double wall_s);

/// Reasons for skips, the tightest bound, and counts; `kept`: rows of an earlier run, which are counted too.
std::string summary(const std::vector<CaseResult>& results, const std::map<Status, int>& kept = {});

/// What went wrong in one case, and the command that repeats it. Empty unless its status is red. `repeat`:
/// the command's words, without the program's name.
std::string failure_report(const CaseResult& result, const std::vector<std::string>& repeat);
/// Of a case of a file, which a sweep repeats.
std::string failure_report(const CaseResult& result, const std::string& case_file);

/// "12.3 MB", "1.50 s" and the like, for people.
std::string human_bytes(double bytes);
std::string human_seconds(double seconds);

}  // namespace ringside
