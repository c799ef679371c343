#include "harness/sweep/resume.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <unordered_map>

#include "harness/base/bytes.h"
#include "harness/base/files.h"
#include "harness/cases/case_file.h"
#include "harness/results/results_reader.h"
#include "harness/sweep/session.h"
#include "reference/error.h"

namespace ringside {
namespace {

constexpr char kNoRow = -1;

/// Throws unless `run` could have written the row.
void check_origin(const ResultRow& row, const RunInfo& run) {
  const auto check = [&](std::string_view what, const auto& was, const auto& is) {
    if (was == is) return;
    throw UsageError(fmt::format("row of {} has {} {}, this run {}", row.name, what, was, is));
  };
  check("schema", row.schema, kResultsSchema);
  check("commit", row.commit, run.commit);
  const Setting here = run.setting();
  check("fingerprint", row.fingerprint, here.fingerprint);
  check("communicator", row.communicator, here.communicator);
  check("device", row.device, here.device);
  check("world", row.world, here.world);
}

/// A status for each of the plan's cases, or kNoRow.
std::vector<char> statuses(const std::vector<ResultRow>& rows, const RunInfo& run, const Plan& plan) {
  std::unordered_map<std::string, std::size_t> place;
  for (const PlannedCase& planned : plan.cases) place.emplace(planned.c.name(), place.size());
  std::vector<char> found(plan.cases.size(), kNoRow);
  for (const ResultRow& row : rows) {
    check_origin(row, run);
    const auto at = place.find(row.name);
    if (at == place.end()) throw UsageError(fmt::format("row of {}, which is not among the cases", row.name));
    if (found[at->second] != kNoRow) throw UsageError(fmt::format("two rows of {}", row.name));
    const PlannedCase& planned = plan.cases[at->second];
    if (const std::string other = difference(row, planned.c); !other.empty())
      throw UsageError(fmt::format("row of {}: {}", row.name, other));
    const auto status = std::ranges::find_if(kStatuses, [&](Status s) { return to_string(s) == row.status; });
    if (status == kStatuses.end())
      throw UsageError(fmt::format("row of {} has status {}", row.name, row.status));
    if ((*status == Status::skip) != planned.skip.has_value()) {
      throw UsageError(
          fmt::format("row of {} has status {}, now it {}", row.name, row.status,
                      planned.skip ? "would be skipped: " + *planned.skip : "would not be skipped"));
    }
    found[at->second] = static_cast<char>(*status);
  }
  return found;
}

}  // namespace

Kept keep_rows(const std::string& directory, const RunInfo& run, const Plan& plan, Fleet& fleet) {
  Kept kept;
  std::vector<char> found;
  on_root(fleet, [&] {
    const std::string path = directory + "/results.jsonl";
    const std::string text = std::filesystem::exists(path) ? read_file(path, kMaxResultsBytes) : "";
    const std::vector<ResultRow> rows = parse_results(text, path);
    try {
      found = statuses(rows, run, plan);
    } catch (const UsageError& error) {
      throw UsageError(fmt::format("--resume: {}: {}", path, error.what()));
    }
    kept.bytes = text.rfind('\n') + 1;
  });
  const auto shared = fleet.processes().all_gather(std::as_bytes(std::span(found)), "rows of an earlier run");
  std::span<const std::byte> root = shared[0];
  found = take_bytes<char>(root, plan.cases.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    const Case& c = plan.cases[i].c;
    if (found[i] == kNoRow) {
      kept.left.push_back(c);
      continue;
    }
    const auto status = static_cast<Status>(found[i]);
    ++kept.counts[status];
    if (is_red(status)) kept.red.push_back(fmt::format("{} {}", to_string(status), c.name()));
  }
  return kept;
}

std::string kept_summary(const Kept& kept) {
  int rows = 0;
  std::string counts, text;
  for (const auto& [status, count] : kept.counts) {
    rows += count;
    counts += fmt::format("{}{} {}", counts.empty() ? "" : ", ", count, to_string(status));
  }
  if (rows == 0) return "";
  for (const std::string& one : kept.red) text += fmt::format("kept: {}\n", one);
  return text + fmt::format("kept {} rows of an earlier run: {}\n", rows, counts);
}

}  // namespace ringside
