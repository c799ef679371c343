// Fuzzes the reader of results.jsonl.
// What is accepted is the same when written out, and whatever a run that was killed left behind it.
#include <algorithm>
#include <string>
#include <tuple>

#include "harness/base/json.h"
#include "harness/cases/case_file.h"
#include "harness/fuzz/fuzz.h"
#include "harness/results/record.h"
#include "reference/error.h"

namespace ringside {
namespace {

bool same(const ResultsLog& a, const ResultsLog& b) {
  return std::ranges::equal(a.records, b.records, [](const Record& x, const Record& y) {
    return std::tie(x.name, x.status, x.commit, x.setting) == std::tie(y.name, y.status, y.commit, y.setting);
  });
}

void check(std::string_view text) {
  ResultsLog log;
  std::string again;
  try {
    log = parse_results(text, kFuzzName, [&](const Record&, const Json& row) { again += row.dump() + '\n'; });
  } catch (const UsageError& error) {
    check_message(error.what());
    check_line(error.what(), text);
    return;
  }
  require(std::ssize(log.records) == std::ranges::count(text, '\n') && log.records.size() <= kMaxCases,
          "every whole line is a row");
  require(same(parse_results(again, kFuzzName), log), "written out and read again it is the same");
  require(same(parse_results(again + "{\"name\":", kFuzzName), log), "a line without its end is left out");
}

}  // namespace
}  // namespace ringside

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ringside::check({reinterpret_cast<const char*>(data), size});
  return 0;
}
