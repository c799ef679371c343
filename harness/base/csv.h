// Reads and writes CSV (RFC 4180).
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "reference/error.h"

struct csv_parser;  // of libcsv

namespace ringside {

/// A cell, in quotes where it needs them: around commas, quotes, line ends, a '#' that would look like a
/// comment, and blanks at its ends, which readers strip.
std::string csv_cell(std::string_view text);

/// A line of cells, one for each of `columns`: csv_cell(text(column)).
template <typename Columns, typename Text>
std::string csv_line(const Columns& columns, const Text& text) {
  std::string line;
  const char* before = "";
  for (const auto& column : columns) {
    line.append(before).append(csv_cell(text(column)));
    before = ",";
  }
  return line;
}

struct CsvCell {
  std::string text;
  std::size_t byte = 0;  ///< where it begins, behind blanks and an opening quote
};

using CsvRecord = std::vector<CsvCell>;

/// What is no CSV, without a file or a line.
class CsvError : public UsageError {
 public:
  CsvError(std::size_t where, const char* message) : UsageError(message), byte(where) {}
  std::size_t byte;
};

/// Splits text into records. It is fed line by line, so that whoever feeds it knows a record's line. Bytes
/// count from the beginning of that, or, of a record that holds line ends, of its first.
class CsvReader {
 public:
  /// Of a longer record the first max_cells + 1 cells are kept: enough to complain.
  explicit CsvReader(std::size_t max_cells);

  /// The records that end in this text. Those of blank lines are none. Throws CsvError.
  std::vector<CsvRecord> feed(std::string_view text);
  /// The record that no line end has ended, if there is one. Throws CsvError: its quote is not closed.
  std::vector<CsvRecord> finish();

 private:
  static void end_cell(void* text, std::size_t size, void* self);
  static void end_record(int, void* self);

  std::unique_ptr<csv_parser, void (*)(csv_parser*)> parser_;
  std::size_t max_cells_;
  std::size_t at_ = 0;     // the byte being parsed
  std::size_t first_ = 0;  // of the cell at hand, if it has begun
  bool has_begun_ = false, is_quoted_ = false;
  CsvRecord cells_;
  std::vector<CsvRecord> records_;
};

}  // namespace ringside
