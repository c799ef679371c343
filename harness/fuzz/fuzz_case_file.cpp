// Fuzzes the reader of case files.
// What is accepted has distinct names, sizes within their limits, and is the same when written out.
#include <algorithm>
#include <cctype>
#include <set>
#include <string>

#include "harness/cases/case_file.h"
#include "harness/fuzz/fuzz.h"
#include "reference/error.h"

namespace ringside {
namespace {

// As the variants' names go: those that the files in cases/ name are among them.
std::vector<Operator> operators_of(std::string_view variant) {
  if (variant.find_first_not_of("abcdefghijklmnopqrstuvwxyz_.0123456789") != variant.npos) return {};
  for (const char* name : {"ring", "usp", "double_ring.", "all_gather_kv.", "balanced"}) {
    if (variant.starts_with(name)) return {Operator::softmax};
  }
  if (variant.starts_with("l") || variant.starts_with("zeco.")) return {Operator::lightning};
  if (variant.starts_with("u")) return {Operator::softmax, Operator::lightning};
  return {};
}

void check_case(const Case& c) {
  for (const Index size : {c.batch, c.seq, c.heads, c.kv_heads, c.head_dim, c.value_dim}) {
    require(size >= 1 && size <= kMaxSize, "sizes are within their limits");
  }
  require(c.heads <= kMaxHeads && c.heads % c.kv_heads == 0, "kv heads divide the heads");
  require(c.dp >= 1 && c.sp >= 1 && c.ranks() <= kMaxRanks && c.batch % c.dp == 0, "ranks divide the batch");
  require(c.batch * c.heads <= kMaxElements / (c.seq * std::max(c.head_dim, c.value_dim)),
          "tensors are within limits");
  require(c.window >= 0 && c.padding >= 0 && c.padding < c.seq, "padding leaves some tokens");
  require(c.cu_seqlens.empty() || (c.cu_seqlens.size() > 1 && c.cu_seqlens.front() == 0 &&
                                   c.cu_seqlens.back() == c.seq - c.padding),
          "documents reach to the padding");
  require(std::ranges::adjacent_find(c.cu_seqlens, std::ranges::greater_equal{}) == c.cu_seqlens.end(),
          "bounds of documents increase");
  const auto is_plain = [](char x) {
    return std::isalnum(static_cast<unsigned char>(x)) || x == '.' || x == '_' || x == '-';
  };
  require(std::ranges::all_of(c.name(), is_plain), "a name is a folder's name and a regular expression");
}

void check(std::string_view text) {
  std::vector<Case> cases;
  try {
    cases = parse_cases(text, kFuzzName, operators_of);
  } catch (const UsageError& error) {
    check_message(error.what());
    check_place(error.what(), text);
    return;
  }
  require(!cases.empty() && cases.size() <= kMaxCases, "a table has cases, and not too many");
  std::set<std::string> names;
  constexpr std::size_t kSample = 8;  // tables of thousands take long and tell no more
  cases.resize(std::min(cases.size(), kSample), cases.front());
  for (const Case& c : cases) {
    check_case(c);
    require(names.insert(c.name()).second, "names are distinct");
  }
  require(parse_cases(case_table(cases), kFuzzName, operators_of) == cases,
          "written out and read again it is the same");
}

}  // namespace
}  // namespace ringside

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ringside::check({reinterpret_cast<const char*>(data), size});
  return 0;
}
