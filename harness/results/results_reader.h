// Rows of results.jsonl, read back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "harness/cases/case.h"

namespace ringside {

/// What a run that goes on where another ended must know of a row.
struct ResultRow {
  std::string name{};
  std::string status{};
  std::string commit{};
  std::string fingerprint{};
  std::string communicator{};
  std::string device{};
  std::int64_t schema = 0;
  std::int64_t world = 0;
  std::vector<std::pair<std::string, std::string>> columns{};  ///< of its case: name, value as JSON
};

inline constexpr std::size_t kMaxResultsBytes = std::size_t{1} << 30;  ///< of a file that is read
inline constexpr std::size_t kMaxRowBytes = std::size_t{16} << 20;     ///< of a line; 4096 ranks take 3 MB
inline constexpr std::size_t kMaxRowDepth = 16;     ///< of arrays and objects in each other
inline constexpr std::size_t kMaxRowMembers = 200;  ///< of one object

/// Rows of a results.jsonl. A last line without its newline (a run killed while writing) is left out.
/// Anything else wrong throws UsageError "file:line: message".
std::vector<ResultRow> parse_results(std::string_view text, std::string_view file_name);

/// Where the row's case departs from `c`: "expect was \"pass\" and is \"fail:…\""; empty: nowhere.
std::string difference(const ResultRow& row, const Case& c);

}  // namespace ringside
