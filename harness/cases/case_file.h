// Case files: CSV tables of what is swept.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "harness/cases/case.h"

namespace ringside {

/// A column of a case file.
struct CaseColumn {
  std::string_view name;
  std::string_view fallback;  ///< what an empty cell or a missing column means; empty: there must be a value
  std::string_view help;
  /// Sets the case's field, given the columns before it. `column`: its name. Throws UsageError, without a place.
  void (*parse)(Case& c, std::string_view column, std::string_view text);
  /// The text that parse() makes the same value of.
  std::string (*write)(const Case& c);
  bool is_literal = false;  ///< write() gives a number or a boolean of JSON
};

/// All columns in their canonical order. A file may have them in any order.
std::span<const CaseColumn> case_columns();

/// The operators that a variant serves, the usual one first; none if there is no such variant.
using OperatorsOf = std::function<std::vector<Operator>(std::string_view variant)>;

inline constexpr std::size_t kMaxCaseFileBytes = std::size_t{16} << 20;
inline constexpr std::size_t kMaxCases = 100'000;
inline constexpr int kMaxRanks = 4096;
inline constexpr Index kMaxSize = Index{1} << 31;  ///< of any one dimension
inline constexpr Index kMaxHeads = Index{1}
                                   << 20;  ///< fewer: each has its slope in memory even of a refused case
inline constexpr Index kMaxElements = Index{1} << 40;  ///< of any one tensor

/// The cases of a table, in the order of its rows. The first record names the columns. A cell may hold
/// alternatives separated by '|': its row stands for the product of all alternatives, the first canonical
/// column varying slowest. Spaces around values, blank lines and lines that start with '#' are ignored; cells
/// may be quoted as in RFC 4180 but not hold line ends; lines end in LF or CRLF; a UTF-8 byte-order mark is
/// skipped. Anything wrong throws UsageError "file:line:column: message", line and column counted in
/// characters from 1.
std::vector<Case> parse_cases(std::string_view text, std::string_view file_name,
                              const OperatorsOf& operators_of);

/// A column of a case and what stands in it.
struct CaseCell {
  std::string column{};
  std::string text{};
  std::string source{};  ///< where it stands, for messages: "mine/case.json", "--dp"; may be empty
};

/// One case from some of its cells; the others have their fallbacks. Of a column that is there twice the last
/// cell counts. Throws UsageError: no such column, what a row of a table is refused for; "source: message",
/// the source that of the cell to blame, or if it has none `source`, or if that is empty the message alone.
Case parse_case(std::span<const CaseCell> cells, const OperatorsOf& operators_of,
                std::string_view source = "");

/// Sets the field of one cell, whatever the others are. Throws UsageError as parse_case().
void enter(Case& c, const CaseCell& cell);

/// "seq=1024,heads=8" as cells. Throws UsageError for what is not column=text, and for a column that is there
/// twice.
std::vector<CaseCell> parse_cells(std::string_view text);

/// All columns of a case.
std::vector<CaseCell> cells_of(const Case& c);

/// The last of a column's cells, or null.
const CaseCell* find_cell(const std::vector<CaseCell>& cells, std::string_view column);

/// Appends, if no cell says what products do, what kernels usually do with that dtype: bf16 for bf16 (they
/// round probabilities too), TF32 for fp16 (which rounds less than TF32 truncates), fp32 for fp32.
void add_usual_math(std::vector<CaseCell>& cells);

/// A case file with all columns, a row a case: parse_cases() reads them back as they are.
std::string case_table(const std::vector<Case>& cases);

/// parse_cases() of read_file().
std::vector<Case> read_cases(const std::filesystem::path& path, const OperatorsOf& operators_of);

}  // namespace ringside
