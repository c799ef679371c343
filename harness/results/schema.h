// The schema of results: each field once, with its meaning and its source.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ringside {

/// Version of the rows' schema; it grows when a field changes its meaning or goes.
inline constexpr std::int64_t kResultsSchema = 3;

/// What a field holds, and how two of its values compare.
enum class FieldKind {
  text,
  flag,
  list,   ///< a number a rank; not in results.csv
  told,   ///< a number that is not compared
  exact,  ///< the same on any machine, loaded or not: bytes, messages, memory
  share,  ///< of a bound: the same on a machine and build
  time,   ///< differs from run to run
};

struct Field {
  std::string name;     ///< column of results.csv
  std::string pointer;  ///< JSON pointer to it in a row of results.jsonl
  FieldKind kind = FieldKind::told;
  std::string unit{};  ///< "s", "bytes" …; empty: a count, a share, a word
  std::string help{};
  bool more_is_worse = true;
};

/// All fields of a row, in the order of results.csv: those of each tensor as o_…, those of ranks as their sum or
/// largest value.
const std::vector<Field>& fields();
/// Of these, those of a case as a whole: traffic, memory, times.
const std::vector<Field>& case_fields();
/// Those of one tensor and of one rank, in its own object.
const std::vector<Field>& tensor_fields();
const std::vector<Field>& rank_fields();

/// A figure is a field that compares: exact, share or time. All of them, in order.
const std::vector<Field>& figures();
/// Place of a figure in figures(). Throws std::logic_error if there is none of that name.
std::size_t figure_index(std::string_view name);

}  // namespace ringside
