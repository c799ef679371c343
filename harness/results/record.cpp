#include "harness/results/record.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "harness/base/files.h"
#include "harness/base/json.h"
#include "harness/cases/case_file.h"
#include "harness/judge/verdict.h"
#include "harness/results/results.h"
#include "harness/results/results_reader.h"
#include "reference/error.h"

namespace ringside {
namespace {

const Json::json_pointer& pointer_of(const std::string& column) {
  static const auto all = [] {
    std::map<std::string, Json::json_pointer> pointers;
    for (const ResultColumn& c : result_columns()) pointers.emplace(c.name, c.pointer);
    return pointers;
  }();
  return all.at(column);
}

/// A number, or one that JSON cannot hold, as results write it.
std::optional<double> number(const Json& row, const Json::json_pointer& at) {
  if (!row.contains(at)) return std::nullopt;
  const Json& value = row.at(at);
  if (value.is_number()) return value.get<double>();
  if (value == "inf") return INFINITY;
  if (value == "-inf") return -INFINITY;
  if (value == "nan") return NAN;
  return std::nullopt;
}

std::string text(const Json& row, const char* member) {
  const auto at = row.find(member);
  return at != row.end() && at->is_string() ? at->get<std::string>() : "";
}

Record record_of(const ResultRow& row, const Json& json) {
  Record record = {.name = row.name,
                   .status = row.status,
                   .reason = text(json, "reason"),
                   .commit = row.commit,
                   .subject = text(json, "subject"),
                   .started = text(json, "started"),
                   .setting = {.fingerprint = row.fingerprint,
                               .device = row.device,
                               .communicator = row.communicator,
                               .world = row.world}};
  const Json::json_pointer oversubscribed("/perf/oversubscribed");
  record.oversubscribed = json.contains(oversubscribed) && json.at(oversubscribed) == true;
  for (const Figure& figure : figures()) record.figures.push_back(number(json, pointer_of(figure.name)));
  return record;
}

}  // namespace

ResultsLog read_results(const std::filesystem::path& path) {
  ResultsLog log = {.path = std::filesystem::is_directory(path) ? path / "results.jsonl" : path};
  const std::string file = log.path.string();
  const std::string all = read_file(log.path, kMaxResultsBytes);
  const std::vector<ResultRow> rows = parse_results(all, file);
  std::string_view rest = all;
  for (const ResultRow& row : rows) {
    const std::size_t end = rest.find('\n');
    if (row.schema < 1 || row.schema > kResultsSchema) {
      throw UsageError(fmt::format("{}:{}: a row of schema {}; this program knows 1 to {}", file,
                                   log.lines.size() + 1, row.schema, kResultsSchema));
    }
    if (std::ranges::none_of(kStatuses, [&](Status s) { return row.status == to_string(s); }))
      throw UsageError(fmt::format("{}:{}: unknown status '{}'", file, log.lines.size() + 1, row.status));
    log.lines.emplace_back(rest.substr(0, end));
    log.records.push_back(record_of(row, Json::parse(log.lines.back())));
    rest.remove_prefix(end + 1);
  }
  if (!rest.empty()) log.torn = rows.size() + 1;
  if (rows.empty())
    throw UsageError(fmt::format("{}: no results{}", file, log.torn ? ", but a torn line" : ""));
  return log;
}

std::string torn_note(const ResultsLog& log) {
  if (log.torn == 0) return "";
  return fmt::format("{}:{}: the last line is torn (its run was killed while writing it) and left out",
                     log.path.string(), log.torn);
}

bool is_red(const Record& record) {
  return std::ranges::any_of(
      kStatuses, [&](Status status) { return is_red(status) && record.status == to_string(status); });
}

bool ran(const Record& record) { return record.status != to_string(Status::skip); }

std::string status_text(const Record& record) {
  return record.reason.empty() ? record.status : record.status + ": " + record.reason;
}

}  // namespace ringside
