// Fuzzes the reader of baselines.
// What is accepted is the same when written out, each case once, and none of them wrong.
#include <set>
#include <string>

#include "harness/cases/case_file.h"
#include "harness/fuzz/fuzz.h"
#include "harness/gate/baseline_file.h"
#include "reference/error.h"

namespace ringside {
namespace {

void check(std::string_view text) {
  Baseline baseline;
  try {
    baseline = parse_baseline(text, kFuzzName);
  } catch (const UsageError& error) {
    check_message(error.what());
    check_line(error.what(), text);
    return;
  }
  require(baseline.rows.size() <= kMaxCases, "a baseline has not too many rows");
  std::set<BaselineKey> keys;
  for (const BaselineRow& row : baseline.rows) {
    require(row.record.status == "pass" || row.record.status == "xfail", "no wrong result is a baseline");
    require(row.record.figures.size() == figures().size(), "every figure has its place");
    require(keys.insert(baseline_key(row.record)).second, "a case is there once");
  }
  const std::string written = baseline_text(baseline.rows);
  const Baseline again = parse_baseline(written, kFuzzName);
  require(again.rows.size() == baseline.rows.size() && again.unknown_columns.empty() &&
              baseline_text(again.rows) == written,
          "written out and read again it is the same");
}

}  // namespace
}  // namespace ringside

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ringside::check({reinterpret_cast<const char*>(data), size});
  return 0;
}
