#include "harness/results/record.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "harness/base/files.h"
#include "harness/base/json.h"
#include "harness/base/text.h"
#include "harness/cases/case_file.h"
#include "harness/judge/verdict.h"
#include "reference/error.h"

namespace ringside {
namespace {

/// Builds a row from the parser's events, within limits that keep a hostile line cheap.
class RowParser final : public nlohmann::json_sax<Json> {
 public:
  /// Throws UsageError without a place.
  Json parse(std::string_view line) {
    if (!Json::sax_parse(line.begin(), line.end(), this)) throw UsageError(why_);
    return std::move(row_);
  }

  bool null() override { return put(nullptr); }
  bool boolean(bool x) override { return put(x); }
  bool number_integer(std::int64_t x) override { return put(x); }
  bool number_unsigned(std::uint64_t x) override { return put(x); }
  bool number_float(double x, const std::string&) override { return put(x); }
  bool string(std::string& x) override { return put(std::move(x)); }
  bool binary(Json::binary_t&) override { return refuse("binary data"); }
  bool start_object(std::size_t) override { return open(Json::object()); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(std::string& name) override {
    const Json& object = *open_.back();
    if (object.size() == kMaxRowMembers)
      return refuse(fmt::format("an object with more than {} members", kMaxRowMembers));
    if (object.contains(name)) return refuse("a member is there twice");
    key_ = std::move(name);
    return true;
  }

  bool parse_error(std::size_t byte, const std::string&, const Json::exception&) override {
    return refuse(fmt::format("no JSON from byte {} on", byte));
  }

 private:
  bool refuse(std::string why) {
    if (why_.empty()) why_ = std::move(why);
    return false;
  }

  bool put(Json value) {
    if (open_.empty()) return refuse("no JSON object");
    last_ = open_.back()->is_array() ? &open_.back()->emplace_back(std::move(value))
                                     : &((*open_.back())[key_] = std::move(value));
    return true;
  }

  bool open(Json empty) {
    if (open_.size() == kMaxRowDepth) return refuse(fmt::format("nested more than {} deep", kMaxRowDepth));
    if (open_.empty()) {
      if (!empty.is_object()) return refuse("no JSON object");
      row_ = std::move(empty);
      last_ = &row_;
    } else {
      put(std::move(empty));
    }
    open_.push_back(last_);
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  Json row_;
  std::vector<Json*> open_;  // arrays and objects, of which only the last grows
  Json* last_ = nullptr;     // value
  std::string key_, why_;
};

/// A member of a row that every row must have. Throws UsageError without a place.
template <typename T>
T needed(const Json& row, const char* name) {
  const auto at = row.find(name);
  if (at == row.end()) throw UsageError(fmt::format("{} is missing", name));
  const bool fits = std::is_same_v<T, std::string> ? at->is_string() : at->is_number_integer();
  if (!fits) throw UsageError(fmt::format("{} is of the wrong type", name));
  return at->get<T>();
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

/// Throws UsageError without a place.
Record record_of(const Json& row) {
  static const auto pointers = [] {
    std::vector<Json::json_pointer> all;
    for (const Field& figure : figures()) all.emplace_back(figure.pointer);
    return all;
  }();
  Record record;
  each_text(record, [&](std::string_view name, std::string& text) {
    if (name != "reason" && name != "subject" && name != "started") {
      text = needed<std::string>(row, name.data());
    } else if (row.contains(name) && row.at(name).is_string()) {  // schema 1 lacks them
      text = row.at(name).get<std::string>();
    }
  });
  record.schema = needed<std::int64_t>(row, "schema");
  record.setting.world = needed<std::int64_t>(row, "world");
  if (!row.contains("case")) throw UsageError("case is missing");
  if (!row.at("case").is_object()) throw UsageError("case is of the wrong type");
  if (record.schema < 1 || record.schema > kResultsSchema)
    throw UsageError(
        fmt::format("a row of schema {}; this program knows 1 to {}", record.schema, kResultsSchema));
  if (std::ranges::none_of(kStatuses, [&](Status s) { return record.status == to_string(s); }))
    throw UsageError(fmt::format("unknown status {}", in_quotes(record.status)));
  const Json::json_pointer oversubscribed("/perf/oversubscribed");
  record.oversubscribed = row.contains(oversubscribed) && row.at(oversubscribed) == true;
  for (const auto& pointer : pointers) record.figures.push_back(number(row, pointer));
  return record;
}

/// Gives a row of an older schema the present form. Schema 2 and 1 had "failures", sentences alone, and of a
/// check "skipped: why".
void upgrade(Json& row) {
  if (const auto failures = row.find("failures"); failures != row.end() && failures->is_array()) {
    Json findings = Json::array();
    for (const Json& failure : *failures) {
      if (failure.is_string()) findings.push_back({{"text", failure}});
    }
    row.erase("failures");
    row["findings"] = std::move(findings);
  }
  const auto checks = row.find("checks");
  if (checks == row.end() || !checks->is_object()) return;
  for (auto& [name, outcome] : checks->items()) {
    if (!outcome.is_string()) continue;
    const auto said = outcome.get<std::string>();
    const std::size_t colon = said.find(": ");
    outcome = {{"outcome", said.substr(0, colon)}};
    if (colon != said.npos) outcome["note"] = said.substr(colon + 2);
  }
}

void take_row(std::string_view line, ResultsLog& log, const TakeRow& take) {
  if (log.records.size() == kMaxCases) throw UsageError(fmt::format("more than {} rows", kMaxCases));
  if (line.size() > kMaxRowBytes) throw UsageError(fmt::format("longer than {} bytes", kMaxRowBytes));
  Json row = RowParser().parse(line);
  Record& record = log.records.emplace_back(record_of(row));
  record.digest = digest_of(fmt::format("row={}\n", line));
  if (const auto machine = row.find("machine"); machine != row.end() && machine->is_object())
    log.machines.try_emplace(record.setting.fingerprint, machine->dump());
  if (record.schema < kResultsSchema) upgrade(row);
  if (take) take(record, row);
}

}  // namespace

ResultsLog parse_results(std::string_view text, const std::filesystem::path& file, const TakeRow& take) {
  ResultsLog log = {.path = file, .bytes = text.rfind('\n') + 1};
  std::string_view rest = text.substr(0, log.bytes);
  for (std::size_t line = 1; !rest.empty(); ++line) {
    const std::size_t end = rest.find('\n');
    try {
      take_row(rest.substr(0, end), log, take);
    } catch (const UsageError& error) {
      throw UsageError(fmt::format("{}:{}: {}", file.string(), line, error.what()));
    }
    rest.remove_prefix(end + 1);
  }
  if (log.bytes < text.size()) log.torn = log.records.size() + 1;
  return log;
}

std::filesystem::path results_file(const std::filesystem::path& path) {
  return std::filesystem::is_directory(path) ? path / "results.jsonl" : path;
}

ResultsLog read_results(const std::filesystem::path& path, const TakeRow& take) {
  const auto file = results_file(path);
  ResultsLog log = parse_results(read_file(file, kMaxResultsBytes), file, take);
  if (log.records.empty())
    throw UsageError(fmt::format("{}: no results{}", file.string(), log.torn ? ", but a torn line" : ""));
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
