#include "harness/base/csv.h"

#include <csv.h>

#include <new>
#include <utility>

namespace ringside {
namespace {

bool is_blank(char c) { return c == ' ' || c == '\t'; }

}  // namespace

std::string csv_cell(std::string_view text) {
  const bool padded = !text.empty() && (is_blank(text.front()) || is_blank(text.back()));
  if (!padded && text.find_first_of("\",#\r\n") == text.npos) return std::string(text);
  std::string cell = "\"";
  for (const char c : text) cell.append(c == '"' ? 2 : 1, c);
  return cell + '"';
}

CsvReader::CsvReader(std::size_t max_cells)
    : parser_(new csv_parser,
              [](csv_parser* parser) {
                csv_free(parser);
                delete parser;
              }),
      max_cells_(max_cells) {
  if (csv_init(parser_.get(), CSV_STRICT | CSV_STRICT_FINI) != 0) throw std::bad_alloc();
  csv_set_blk_size(parser_.get(),
                   std::size_t{1} << 16);  // its buffer grows by steps, by default of 128 bytes
}

// libcsv does not tell where cells stand: it is fed byte by byte, so that a cell ends at the byte at hand.
std::vector<CsvRecord> CsvReader::feed(std::string_view text) {
  if (cells_.empty() && !has_begun_) at_ = 0;  // no record is open
  for (const char c : text) {
    if (!has_begun_ && !is_blank(c) && c != '\r' && c != '\n') {
      has_begun_ = true;
      is_quoted_ = c == '"';
      first_ = at_;
    }
    if (csv_parse(parser_.get(), &c, 1, end_cell, end_record, this) != 1) {
      if (csv_error(parser_.get()) != CSV_EPARSE) throw std::bad_alloc();
      throw CsvError(at_, is_quoted_
                              ? "text after the closing quote of a cell (a quote inside one is written twice)"
                              : "a quote inside a cell that is not quoted");
    }
    ++at_;
  }
  return std::exchange(records_, {});
}

std::vector<CsvRecord> CsvReader::finish() {
  if (csv_fini(parser_.get(), end_cell, end_record, this) != 0) throw CsvError(first_, "quote not closed");
  return std::exchange(records_, {});
}

void CsvReader::end_cell(void* text, std::size_t size, void* self) {
  auto& reader = *static_cast<CsvReader*>(self);
  const std::size_t begin = reader.has_begun_ ? reader.first_ + (reader.is_quoted_ ? 1 : 0) : reader.at_;
  if (reader.cells_.size() <= reader.max_cells_)
    reader.cells_.push_back({.text = std::string(static_cast<const char*>(text), size), .byte = begin});
  reader.has_begun_ = false;
}

void CsvReader::end_record(int, void* self) {
  auto& reader = *static_cast<CsvReader*>(self);
  reader.records_.push_back(std::exchange(reader.cells_, {}));
}

}  // namespace ringside
