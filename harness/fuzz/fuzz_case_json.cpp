// Fuzzes the reader of the case.json beside somebody's tensors.
// Its cells are refused, or are those of a case that is the same when written out.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "harness/cases/case_json.h"
#include "harness/fuzz/fuzz.h"
#include "reference/error.h"

namespace ringside {
namespace {

std::vector<Operator> operators_of(std::string_view) { return {Operator::softmax, Operator::lightning}; }

std::vector<CaseCell> cells_in(std::string_view text) {
  return cells_of(nlohmann::ordered_json::parse(text, nullptr, false), kFuzzName);
}

void check(std::string_view text) {
  std::vector<CaseCell> cells;
  try {
    cells = cells_in(text);
  } catch (const UsageError& error) {
    check_message(error.what());
    return;
  }
  std::erase_if(cells,
                [](const CaseCell& cell) { return std::ranges::count(kFileColumns, cell.column) > 0; });
  Case c;
  try {
    c = parse_case(cells, operators_of, kFuzzName);
  } catch (const UsageError& error) {
    check_message(error.what());
    return;
  }
  require(parse_case(cells_in(case_json(c).dump()), operators_of) == c,
          "written out and read again it is the same");
}

}  // namespace
}  // namespace ringside

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ringside::check({reinterpret_cast<const char*>(data), size});
  return 0;
}
