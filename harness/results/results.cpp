#include "harness/results/results.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "harness/base/csv.h"
#include "harness/base/files.h"
#include "harness/base/json.h"
#include "harness/cases/case_json.h"
#include "harness/results/finding_json.h"
#include "harness/results/record.h"
#include "harness/results/schema_table.h"
#include "reference/error.h"

namespace ringside {
namespace {

/// The fields of results.csv.
const std::vector<Field>& columns() {
  static const std::vector<Field> all = [] {
    std::vector<Field> columns = fields();
    std::erase_if(columns, [](const Field& field) { return field.kind == FieldKind::list; });
    return columns;
  }();
  return all;
}

std::string csv_header() { return csv_line(columns(), std::mem_fn(&Field::name)); }

/// What the names of the files in a directory begin with. Makes the directory.
std::string path_in(const std::string& directory) {
  make_directory(directory);
  return directory + "/results";
}

template <typename From>
void put(Json& json, const std::vector<Source<From>>& sources, const From& from) {
  for (const Source<From>& source : sources) {
    Json value = source.get(from);
    if (value.is_number_float()) value = json_number(value.get<double>());
    json[Json::json_pointer(source.pointer)] = std::move(value);
  }
}

Json ranks_json(const CaseResult& r) {
  Json all = Json::array();
  for (std::size_t rank = 0; rank < r.ranks.size(); ++rank) {
    const OfRank of = {r.ranks[rank], r.expected_traffic[rank], r.expected_memory[rank]};
    put(all.emplace_back(), kSummed, of);
    put(all.back(), kLargest, of);
    if (r.timelines.empty()) continue;
    for (const Total& total : compute_totals(r.timelines[rank])) {
      all.back()["by_operation"][std::string(total.name)] = {{"count", total.count},
                                                             {"seconds", total.seconds}};
    }
  }
  return all;
}

/// Puts one figure over all ranks, which there are, into `sums`.
template <typename Join>
void put_joined(Json& sums, const std::vector<Source<OfRank>>& sources, const Json& ranks, const Join& join) {
  for (const Field& field : sources) {
    const Json::json_pointer pointer(field.pointer);
    for (const Json& rank : ranks) {
      Json& total = sums[pointer];
      total = total.is_null() ? rank.at(pointer) : join(total, rank.at(pointer));
    }
  }
}

}  // namespace

Json row_json(const CaseResult& r, const RunInfo& run) {
  Json row;
  const OfRow of = {r, run};
  put(row, kFirst, of);
  row["case"] = case_json(r.c);
  put(row, kOfRun, of);
  for (const auto& [name, value] : run.machine.fields) row["machine"][name] = value;
  if (r.status == Status::skip) return row;
  row["findings"] = findings_json(r);
  row["checks"] = checks_json(r);
  for (const Out out : kOuts) {
    if (r.tensors[out].given) put(row["tensors"][std::string(to_string(out))], kOfTensor, {r, out});
  }
  row["perf"] = nullptr;
  if (r.repeat > 0) put(row, kPerf, of);
  put(row, kWall, of);
  if (r.ranks.empty()) return row;  // nothing ran: only tensors were given
  Json ranks = ranks_json(r);
  put_joined(row["sums"], kSummed, ranks, [](const Json& a, const Json& b) {
    return Json(a.get<std::int64_t>() + b.get<std::int64_t>());
  });
  put_joined(row["sums"], kLargest, ranks, [](const Json& a, const Json& b) { return std::max(a, b); });
  row["ranks"] = std::move(ranks);
  return row;
}

std::string csv_row(const Json& row) {
  return csv_line(columns(), [&](const Field& column) {
    const Json::json_pointer pointer(column.pointer);
    const Json cell = row.contains(pointer) ? row.at(pointer) : Json();
    return cell.is_null() ? "" : cell.is_string() ? cell.get<std::string>() : cell.dump();
  });
}

ResultsFile::ResultsFile(const std::string& directory)
    : jsonl_(path_in(directory) + ".jsonl"), csv_(path_in(directory) + ".csv") {
  jsonl_.cut(0);
  csv_.cut(0);
  csv_.append(csv_header());
}

ResultsFile::ResultsFile(const std::string& directory, std::size_t keep,
                         const std::vector<std::string>& csv_rows)
    : jsonl_(path_in(directory) + ".jsonl"), csv_(path_in(directory) + ".csv.new") {
  const std::string path = path_in(directory);
  if (read_file(path + ".jsonl", kMaxResultsBytes).rfind('\n') + 1 != keep)
    throw UsageError(fmt::format("{}.jsonl: another run has changed it meanwhile", path));
  csv_.cut(0);
  csv_.append(csv_header());
  for (const std::string& row : csv_rows) csv_.append(row);
  csv_.rename(path + ".csv");
  jsonl_.cut(keep);
}

void ResultsFile::add(const CaseResult& result, const RunInfo& run) {
  const Json row = row_json(result, run);
  jsonl_.append(row.dump(-1, ' ', false, Json::error_handler_t::replace));  // a path may be any bytes
  csv_.append(csv_row(row));
}

}  // namespace ringside
