#include "harness/sweep/resume.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <unordered_map>

#include "harness/base/bytes.h"
#include "harness/base/files.h"
#include "harness/base/json.h"
#include "harness/cases/case_json.h"
#include "harness/results/record.h"
#include "harness/sweep/session.h"
#include "reference/error.h"

namespace ringside {
namespace {

constexpr char kNoRow = -1;

/// Throws unless `run` could have written the row.
void check_origin(const Record& row, const RunInfo& run) {
  const auto check = [&](std::string_view what, const auto& was, const auto& is) {
    if (was == is) return;
    throw UsageError(fmt::format("row of {} has {} {}, this run {}", row.name, what, was, is));
  };
  const Setting here = run.setting();
  check("schema", row.schema, kResultsSchema);
  check("commit", row.commit, run.commit);
  check("fingerprint", row.setting.fingerprint, here.fingerprint);
  check("communicator", row.setting.communicator, here.communicator);
  check("device", row.setting.device, here.device);
  check("world", row.setting.world, here.world);
}

/// Throws unless `was`, the case of a row, is `c`: "expect was \"pass\" and is \"fail:…\"".
void check_case(const std::string& name, const Json& was, const Case& c) {
  const Json now = case_json(c);
  for (const auto& [column, value] : now.items()) {
    const std::string then = was.contains(column) ? was.at(column).dump() : "missing";
    if (then != value.dump())
      throw UsageError(fmt::format("row of {}: {} was {} and is {}", name, column, then, value.dump()));
  }
}

/// The row's status. Throws unless this run would have written the row of that case.
Status status_of(const Record& row, const Json& json, const PlannedCase& planned) {
  check_case(row.name, json.at("case"), planned.c);
  const Status status = *std::ranges::find(kStatuses, row.status, [](Status s) { return to_string(s); });
  if ((status == Status::skip) == planned.skip.has_value()) return status;
  throw UsageError(fmt::format("row of {} has status {}, now it {}", row.name, row.status,
                               planned.skip ? "would be skipped: " + *planned.skip : "would not be skipped"));
}

}  // namespace

Kept keep_rows(const std::string& directory, const RunInfo& run, const Plan& plan, Fleet& fleet) {
  Kept kept;
  std::vector<char> found;
  on_root(fleet, [&] {
    const std::string path = directory + "/results.jsonl";
    found.assign(plan.cases.size(), kNoRow);
    std::unordered_map<std::string, std::size_t> places;
    for (const PlannedCase& planned : plan.cases) places.emplace(planned.c.name(), places.size());
    const TakeRow take = [&](const Record& row, const Json& json) {
      check_origin(row, run);
      const auto at = places.find(row.name);
      if (at == places.end())
        throw UsageError(fmt::format("row of {}, which is not among the cases", row.name));
      if (found[at->second] != kNoRow) throw UsageError(fmt::format("two rows of {}", row.name));
      found[at->second] = static_cast<char>(status_of(row, json, plan.cases[at->second]));
      kept.csv_rows.push_back(csv_row(json));
    };
    try {
      if (std::filesystem::exists(path))
        kept.bytes = parse_results(read_file(path, kMaxResultsBytes), path, take).bytes;
    } catch (const UsageError& error) {
      throw UsageError(fmt::format("--resume: {}", error.what()));
    }
  });
  const auto shared = fleet.processes().all_gather(std::as_bytes(std::span(found)), "rows of an earlier run");
  std::span<const std::byte> root = shared[0];
  found =
      root.empty() ? std::vector<char>(plan.cases.size(), kNoRow) : take_bytes<char>(root, plan.cases.size());
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
