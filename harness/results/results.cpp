#include "harness/results/results.h"

#include <fmt/format.h>

#include <functional>

#include "harness/base/csv.h"
#include "harness/base/files.h"
#include "harness/base/json.h"
#include "harness/results/record.h"
#include "harness/results/schema.h"
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

}  // namespace

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
