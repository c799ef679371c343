// Fuzzes the reader of results.jsonl.
// What is accepted is the same when written out, and whatever a run that was killed left behind it.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <tuple>

#include "harness/cases/case_file.h"
#include "harness/fuzz/fuzz.h"
#include "harness/results/results_reader.h"
#include "reference/error.h"

namespace ringside {
namespace {

auto fields(const ResultRow& row) {
  return std::tie(row.name, row.status, row.commit, row.fingerprint, row.communicator, row.device, row.schema,
                  row.world, row.columns);
}

bool same(const std::vector<ResultRow>& a, const std::vector<ResultRow>& b) {
  return std::ranges::equal(a, b,
                            [](const ResultRow& x, const ResultRow& y) { return fields(x) == fields(y); });
}

std::string quoted(const std::string& text) { return nlohmann::json(text).dump(); }

std::string line(const ResultRow& row) {
  std::string columns;
  for (const auto& [name, value] : row.columns)
    columns += (columns.empty() ? "" : ",") + quoted(name) + ":" + value;
  return "{\"case\":{" + columns + "},\"name\":" + quoted(row.name) + ",\"status\":" + quoted(row.status) +
         ",\"commit\":" + quoted(row.commit) + ",\"fingerprint\":" + quoted(row.fingerprint) +
         ",\"communicator\":" + quoted(row.communicator) + ",\"device\":" + quoted(row.device) +
         ",\"schema\":" + std::to_string(row.schema) + ",\"world\":" + std::to_string(row.world) + "}\n";
}

void check(std::string_view text) {
  std::vector<ResultRow> rows;
  try {
    rows = parse_results(text, kFuzzName);
  } catch (const UsageError& error) {
    check_message(error.what());
    check_line(error.what(), text);
    return;
  }
  require(std::ssize(rows) == std::ranges::count(text, '\n') && rows.size() <= kMaxCases,
          "every whole line is a row");
  std::string again;
  for (const ResultRow& row : rows) {
    again += line(row);
    require(!difference(row, Case{}).empty(), "no variant is nameless");
  }
  require(same(parse_results(again, kFuzzName), rows), "written out and read again it is the same");
  require(same(parse_results(again + "{\"name\":", kFuzzName), rows), "a line without its end is left out");
}

}  // namespace
}  // namespace ringside

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ringside::check({reinterpret_cast<const char*>(data), size});
  return 0;
}
