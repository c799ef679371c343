// Tables of a sweep, as people read them.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "harness/base/terminal.h"
#include "harness/judge/run_case.h"

namespace ringside {

/// A case in words that fit a line: "lasp_naive bf16/tf32 dp1 sp4  b8 n2048 h12 d128/64  alibi". Gaussian
/// values, seed 1 and what else most cases have are not told.
std::string heading(const CaseResult& result);

/// Head of the table of correctness; `published`: with LASP's figures.
std::string accuracy_header(bool published, Paint paint = {});
/// One case in it: a heading with the case's number, from 1 on, and a line a tensor. Empty for a skip.
std::string accuracy_rows(const CaseResult& result, std::size_t number, Paint paint = {});
/// The whole table, with LASP's figures if they are about any of the cases.
std::string accuracy_table(const std::vector<CaseResult>& results, Paint paint = {});

/// Times, throughput, traffic and memory: a line a case.
std::string performance_table(const std::vector<CaseResult>& results, Paint paint = {});

/// Where the time of a sweep went, in shares of its wall time; "the rest" is what no phase accounts for.
std::string time_summary(const Phases& phases, double wall_s);

/// Reasons for skips, the tightest bound, and counts; `kept`: rows of an earlier run, which are counted too.
std::string summary(const std::vector<CaseResult>& results, const std::map<Status, int>& kept = {},
                    Paint paint = {});

/// What went wrong in one case, and the command that repeats it. Empty unless its status is red. `repeat`:
/// the command's words, without the program's name.
std::string failure_report(const CaseResult& result, const std::vector<std::string>& repeat,
                           Paint paint = {});
/// Of a case of a file, which a sweep repeats.
std::string failure_report(const CaseResult& result, const std::string& case_file, Paint paint = {});

/// "12.3 MB", "1.50 s" and the like, for people.

}  // namespace ringside
