#include "harness/gate/baseline_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <numeric>
#include <optional>
#include <utility>

#include "harness/base/csv.h"
#include "harness/base/text.h"
#include "harness/cases/case_file.h"
#include "reference/error.h"

namespace ringside {
namespace {

constexpr std::size_t kMaxColumns = 1000;

template <typename T>
T number(const std::string& text) {
  if (const auto value = number_in<T>(text)) return *value;
  throw UsageError(fmt::format("{} is no number", in_quotes(text)));
}

struct Column {
  std::string name;
  bool needed;
  std::function<void(BaselineRow&, const std::string&)> read;  ///< throws UsageError without a place
  std::function<std::string(const BaselineRow&)> write;
};

/// visit(name, text) for each text of a row.
template <typename AnyRow, typename Visit>
void each_row_text(AnyRow& row, const Visit& visit) {
  visit("recorded", row.recorded), visit("by", row.by), visit("why", row.why);
  each_text(row.record, [&](std::string_view name, auto& text) {
    if (name != "reason") visit(name, text);
  });
}

Column text_column(std::string_view name) {
  constexpr std::array<std::string_view, 5> kNeeded = {"name", "status", "fingerprint", "communicator",
                                                       "device"};
  const auto of = [name](auto& row, const auto& use) {
    each_row_text(row, [&](std::string_view known, auto& text) {
      if (known == name) use(text);
    });
  };
  return {.name = std::string(name),
          .needed = std::ranges::count(kNeeded, name) > 0,
          .read = [of](BaselineRow& row,
                       const std::string& cell) { of(row, [&](std::string& text) { text = cell; }); },
          .write =
              [of](const BaselineRow& row) {
                std::string cell;
                of(row, [&](const std::string& text) { cell = text; });
                return cell;
              }};
}

void read_schema(BaselineRow&, const std::string& cell) {
  const auto schema = number<std::int64_t>(cell);
  if (schema < 1 || schema > kBaselineSchema) {
    throw UsageError(fmt::format("a baseline of schema {}; this program knows 1 to {}: a newer one wrote it",
                                 schema, kBaselineSchema));
  }
}

void read_oversubscribed(BaselineRow& row, const std::string& cell) {
  if (cell != "true" && cell != "false")
    throw UsageError(fmt::format("{} is neither true nor false", in_quotes(cell)));
  row.record.oversubscribed = cell == "true";
}

/// The schema first: it says how to read the others.
const std::vector<Column>& columns() {
  static const auto all = [] {
    std::vector<Column> list = {
        {"schema", true, read_schema, [](const BaselineRow&) { return std::to_string(kBaselineSchema); }},
        {"world", true,
         [](BaselineRow& row, const std::string& cell) {
           row.record.setting.world = number<std::int64_t>(cell);
         },
         [](const BaselineRow& row) { return std::to_string(row.record.setting.world); }},
        {"oversubscribed", false, read_oversubscribed,
         [](const BaselineRow& row) { return row.record.oversubscribed ? "true" : "false"; }}};
    BaselineRow none;
    auto place = list.begin() + 1;
    each_row_text(none, [&](std::string_view name, const std::string&) {
      place = std::next(list.insert(place, text_column(name)));
    });
    for (std::size_t i = 0; i < figures().size(); ++i) {
      list.push_back({figures()[i].name, false,
                      [i](BaselineRow& row, const std::string& cell) {
                        if (!cell.empty()) row.record.figures[i] = number<double>(cell);
                      },
                      [i](const BaselineRow& row) {
                        const auto& figure = row.record.figures[i];
                        return figure ? fmt::format("{}", *figure) : "";  // the shortest that reads back
                      }});
    }
    return list;
  }();
  return all;
}

class BaselineReader {
 public:
  /// Takes a record. Throws UsageError without a place.
  void record(const CsvRecord& cells, std::size_t line) {
    if (header_.empty()) {
      header(cells);
    } else {
      row(cells, line);
    }
  }
  bool has_header() const { return !header_.empty(); }
  Baseline take() { return std::move(baseline_); }

 private:
  void header(const CsvRecord& cells) {
    if (cells.size() > kMaxColumns) throw UsageError(fmt::format("more than {} columns", kMaxColumns));
    place_.resize(columns().size());
    for (const auto& [cell, byte] : cells) {
      if (std::ranges::count(header_, cell) > 0)
        throw UsageError(fmt::format("column {} is there twice", in_quotes(cell)));
      const auto known = std::ranges::find(columns(), cell, &Column::name);
      if (known == columns().end())
        baseline_.unknown_columns.push_back(cell);
      else
        place_[static_cast<std::size_t>(known - columns().begin())] = header_.size();
      header_.push_back(cell);
    }
    if (!place_.front()) throw UsageError("no baseline: column schema is missing");
  }

  void row(const CsvRecord& cells, std::size_t line) {
    if (cells.size() != header_.size()) {
      throw UsageError(fmt::format("too {} cells: there are {} columns",
                                   cells.size() < header_.size() ? "few" : "many", header_.size()));
    }
    if (baseline_.rows.size() == kMaxCases) throw UsageError(fmt::format("more than {} rows", kMaxCases));
    BaselineRow& row = baseline_.rows.emplace_back();
    row.record.figures.resize(figures().size());
    for (std::size_t i = 0; i < columns().size(); ++i) {
      const Column& column = columns()[i];
      if (column.needed && !place_[i]) throw UsageError(fmt::format("column {} is missing", column.name));
      if (!place_[i]) continue;
      try {
        column.read(row, cells[*place_[i]].text);
      } catch (const UsageError& error) {
        throw UsageError(fmt::format("{}: {}", column.name, error.what()));
      }
    }
    const Record& r = row.record;
    if (r.status != "pass" && r.status != "xfail")
      throw UsageError(
          fmt::format("status: {} is no baseline: only pass and xfail are", in_quotes(r.status)));
    const auto [same, is_new] = line_of_.emplace(baseline_key(r), line);
    if (!is_new) throw UsageError(fmt::format("{} is already in line {}", in_quotes(r.name), same->second));
  }

  std::vector<std::string> header_;
  std::vector<std::optional<std::size_t>> place_;  // of columns() among the file's
  std::map<BaselineKey, std::size_t> line_of_;
  Baseline baseline_;
};

}  // namespace

Baseline parse_baseline(std::string_view text, std::string_view file_name) {
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  CsvReader parser(kMaxColumns);
  BaselineReader reader;
  std::size_t line = 1, next = 1;  // at hand; after the last record
  try {
    while (!text.empty()) {
      const std::size_t end = text.find('\n');
      if (end == text.npos) throw UsageError("the last line lacks its end: the file is cut off");
      for (const auto& cells : parser.feed(text.substr(0, end + 1))) {
        reader.record(cells, line);
        next = line + 1;
      }
      text.remove_prefix(end + 1);
      ++line;
    }
    line = next;
    parser.finish();
    line = 1;
    if (!reader.has_header()) throw UsageError("no baseline: it is empty");
  } catch (const UsageError& error) {
    throw UsageError(fmt::format("{}:{}: {}", file_name, line, error.what()));
  }
  return reader.take();
}

std::string baseline_text(std::span<const BaselineRow> rows) {
  std::vector<const BaselineRow*> order;
  for (const BaselineRow& row : rows) order.push_back(&row);
  std::ranges::sort(order, {}, [](const BaselineRow* row) { return baseline_key(row->record); });
  std::string text = csv_line(columns(), std::mem_fn(&Column::name)) + '\n';
  for (const BaselineRow* row : order)
    text += csv_line(columns(), [&](const Column& column) { return column.write(*row); }) + '\n';
  return text;
}

}  // namespace ringside
