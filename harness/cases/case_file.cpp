#include "harness/cases/case_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <new>
#include <system_error>
#include <unordered_map>

#include "harness/base/csv.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include "reference/error.h"

namespace ringside {
namespace {

// One line of the file, and how to complain about a byte in it.
struct Line {
  std::string_view file;
  std::size_t number = 0;  // from 1
  std::string_view text;   // without its end

  // Columns count characters: bytes that do not continue a UTF-8 sequence.
  [[noreturn]] void fail(std::size_t byte, std::string_view message) const {
    const auto starts = [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; };
    const auto before = std::ranges::count_if(text.substr(0, byte), starts);
    throw UsageError(fmt::format("{}:{}:{}: {}", file, number, before + 1, message));
  }
};

// The values of a cell: what stands between '|', without the spaces around it; none if the cell is empty.
std::vector<CsvCell> alternatives(const CsvCell& cell) {
  std::vector<CsvCell> pieces;
  std::string_view rest = cell.text;
  if (rest.find_first_not_of(" \t") == rest.npos) return pieces;
  std::size_t byte = cell.byte;
  // In the file each quote of a quoted cell stands twice.
  const auto width = [](std::string_view s) {
    return s.size() + static_cast<std::size_t>(std::ranges::count(s, '"'));
  };
  for (bool more = true; more && pieces.size() <= kMaxCases;) {
    const std::size_t end = std::min(rest.find('|'), rest.size());
    const std::string_view part = rest.substr(0, end);
    const std::size_t first = std::min(part.find_first_not_of(" \t"), part.size());
    const std::size_t last = std::min(part.find_last_not_of(" \t") + 1, part.size());
    pieces.push_back(
        {.text = std::string(part.substr(first, std::max(first, last) - first)), .byte = byte + first});
    byte += width(part) + 1;
    more = end < rest.size();
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return pieces;
}

using Values = std::vector<std::vector<CsvCell>>;  // [canonical column][alternative]
using Choice = std::vector<const CsvCell*>;        // [canonical column], null for the fallback

struct Conflict {
  std::string_view column;  // the one to blame
  std::string message;
};

// What parts of the case do not go together.
std::optional<Conflict> conflict(const Case& c, const std::vector<Operator>& served) {
  if (std::ranges::count(served, c.op) == 0) {
    return Conflict{"operator", fmt::format("{} serves {}, not {}", c.variant, to_string(served.front()),
                                            to_string(c.op))};
  }
  if (c.op == Operator::lightning && !c.causal)
    return Conflict{"causal", "lightning attention is always causal"};
  if (c.op == Operator::softmax && c.decay.slope) return Conflict{"decay", "softmax attention has no decay"};
  if (c.op == Operator::lightning && c.sample > 0)
    return Conflict{"sample", "lightning attention takes linear time: all of its rows are checked"};
  if (c.sample > 0 && c.sample < std::min<Index>(2 * c.sp, c.seq)) {
    return Conflict{"sample",
                    fmt::format("sample {} of {} tokens leaves some of {} ranks unchecked: at least {}",
                                c.sample, c.seq, c.sp, 2 * c.sp)};
  }
  if (c.sample > 0 && !c.checks.empty())
    return Conflict{"checks", "a case of which a sample of rows is checked has no other checks"};
  if ((c.fill == Fill::inf || c.fill == Fill::nan) && c.sample > 0) {
    return Conflict{"sample",
                    fmt::format("what fill {} spoils must be looked for in all rows", to_string(c.fill))};
  }
  if (c.window > 0 && (c.op != Operator::softmax || !c.causal))
    return Conflict{"window", "only causal softmax attention has a window"};
  const bool finite = c.fill != Fill::inf && c.fill != Fill::nan;
  if (c.partials != DType::fp32 && (c.op != Operator::softmax || !finite || !c.checks.empty()))
    return Conflict{
        "partials",
        "partial results are rounded of softmax attention alone, without fill inf or nan, without checks"};
  if (c.padding >= c.seq) {
    return Conflict{"padding", fmt::format("padding {} leaves nothing of {} tokens", c.padding, c.seq)};
  }
  if (!c.cu_seqlens.empty() && c.cu_seqlens.back() != c.seq - c.padding) {
    return Conflict{"cu_seqlens", fmt::format("cu_seqlens ends at {}, not at {} (seq {}, padding {})",
                                              c.cu_seqlens.back(), c.seq - c.padding, c.seq, c.padding)};
  }
  if (c.heads % c.kv_heads != 0) {
    return Conflict{"kv_heads",
                    fmt::format("heads {} is not a multiple of kv_heads {}", c.heads, c.kv_heads)};
  }
  if (c.batch % c.dp != 0) {
    return Conflict{"dp", fmt::format("batch {} is not a multiple of dp {}", c.batch, c.dp)};
  }
  if (c.dp * c.sp > kMaxRanks) {
    return Conflict{"sp", fmt::format("dp {} times sp {} is more than {} ranks", c.dp, c.sp, kMaxRanks)};
  }
  // In double a product within the limit is exact, and one beyond it stays beyond it.
  const auto size = [](Index x) { return static_cast<double>(x); };
  const double matrices = size(c.batch) * size(c.heads);
  const double tokens = size(c.seq) * size(std::max(c.head_dim, c.value_dim));
  const double state = size(c.head_dim) * size(c.value_dim);
  if (matrices * std::max(tokens, state) > size(kMaxElements)) {
    return Conflict{"seq",
                    fmt::format("a tensor of batch {}, heads {}, seq {}, head_dim {}, value_dim {} has more "
                                "than {} elements",
                                c.batch, c.heads, c.seq, c.head_dim, c.value_dim, kMaxElements)};
  }
  return std::nullopt;
}

std::size_t column_index(std::string_view name) {
  return static_cast<std::size_t>(std::ranges::find(case_columns(), name, &CaseColumn::name) -
                                  case_columns().begin());
}

/// A case from the text of each column; fail(column, message) throws.
template <typename TextOf, typename Fail>
Case make_case(const TextOf& text_of, const OperatorsOf& operators_of, const Fail& fail) {
  Case c;
  std::vector<Operator> served;
  for (std::size_t i = 0; i < case_columns().size(); ++i) {
    try {
      case_columns()[i].parse(c, case_columns()[i].name, text_of(i));
      if (case_columns()[i].name != "variant") continue;
      served = operators_of(c.variant);
      if (served.empty()) throw UsageError(fmt::format("unknown variant {}", in_quotes(c.variant)));
      c.op = served.front();
    } catch (const UsageError& error) {
      fail(i, error.what());
    }
  }
  if (const auto wrong = conflict(c, served)) fail(column_index(wrong->column), wrong->message);
  return c;
}

class TableReader {
 public:
  explicit TableReader(const OperatorsOf& operators_of) : operators_of_(operators_of) {}

  // Takes a line that is neither blank nor a comment.
  void record(const Line& line) {
    const CsvRecord cells = cells_of(line);
    if (columns_.empty()) {
      header(line, cells);
    } else {
      row(line, cells);
    }
  }

  bool has_header() const { return !columns_.empty(); }
  std::vector<Case> take_cases() { return std::move(cases_); }

 private:
  CsvRecord cells_of(const Line& line) {
    try {
      reader_.feed(line.text);
    } catch (const CsvError& error) {
      line.fail(error.byte, error.what());
    }
    try {
      return reader_.finish().at(0);
    } catch (const CsvError& error) {
      line.fail(error.byte, fmt::format("{} on this line", error.what()));
    }
  }

  void header(const Line& line, const CsvRecord& cells) {
    std::vector<std::string_view> names;
    for (const CaseColumn& column : case_columns()) names.push_back(column.name);
    for (const CsvCell& cell : cells) {
      const std::size_t column = column_index(cell.text);
      if (column == names.size()) line.fail(cell.byte, unknown("column", cell.text, names));
      if (std::ranges::count(columns_, column) > 0) {
        line.fail(cell.byte, fmt::format("column {} is there twice", cell.text));
      }
      columns_.push_back(column);
    }
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (case_columns()[i].fallback.empty() && std::ranges::count(columns_, i) == 0) {
        line.fail(0, fmt::format("column {} is missing", names[i]));
      }
    }
  }

  void row(const Line& line, const CsvRecord& cells) {
    if (cells.size() != columns_.size()) {
      const bool few = cells.size() < columns_.size();
      line.fail(few ? line.text.size() : cells[columns_.size()].byte,
                fmt::format("too {} cells: there are {} columns", few ? "few" : "many", columns_.size()));
    }
    Values values(case_columns().size());
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const CaseColumn& column = case_columns()[columns_[i]];
      std::vector<CsvCell>& pieces = values[columns_[i]];
      pieces = alternatives(cells[i]);
      if (pieces.empty() && column.fallback.empty()) {
        line.fail(cells[i].byte, fmt::format("{} must be given", column.name));
      }
      for (const CsvCell& piece : pieces) {
        if (piece.text.empty())
          line.fail(piece.byte, fmt::format("empty alternative in column {}", column.name));
      }
    }
    expand(line, values);
  }

  // All combinations of the alternatives, counted like a number whose last column is the last digit.
  void expand(const Line& line, const Values& values) {
    std::size_t combinations = 1;
    for (const auto& pieces : values) {
      combinations *= std::max<std::size_t>(pieces.size(), 1);
      if (cases_.size() + combinations > kMaxCases) {
        line.fail(pieces.empty() ? 0 : pieces[0].byte,
                  fmt::format("the table has more than {} cases", kMaxCases));
      }
    }
    Choice choice(values.size());
    for (std::size_t n = 0; n < combinations; ++n) {
      std::size_t rest = n;
      for (std::size_t i = values.size(); i-- > 0;) {
        if (values[i].empty()) continue;
        choice[i] = &values[i][rest % values[i].size()];
        rest /= values[i].size();
      }
      add(line, choice);
    }
  }

  void add(const Line& line, const Choice& choice) {
    const auto byte_of = [&](std::size_t column) { return choice[column] ? choice[column]->byte : 0; };
    Case c = make_case(
        [&](std::size_t column) {
          return choice[column] ? std::string_view(choice[column]->text) : case_columns()[column].fallback;
        },
        operators_of_,
        [&](std::size_t column, const std::string& message) { line.fail(byte_of(column), message); });
    const auto [same, is_new] = line_of_.emplace(c.name(), line.number);
    if (!is_new) {
      line.fail(byte_of(column_index("variant")),
                fmt::format("{} is already in line {}", same->first, same->second));
    }
    cases_.push_back(std::move(c));
  }

  const OperatorsOf& operators_of_;
  CsvReader reader_{case_columns().size()};
  std::vector<std::size_t> columns_;  // canonical column of each of the file's
  std::vector<Case> cases_;
  std::unordered_map<std::string, std::size_t> line_of_;  // by name
};

// Tabs are spaces; no other control character belongs in a table, nor in a message that a terminal shows.
// Those from U+0080 to U+009F are two bytes, of which the first is 0xc2.
void check_characters(const Line& line) {
  for (std::size_t i = 0; i < line.text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(line.text[i]);
    const bool is_second = i > 0 && line.text[i - 1] == '\xc2' && byte >= 0x80 && byte < 0xa0;
    if (is_second || (byte < 0x20 && byte != '\t') || byte == 0x7f) {
      line.fail(is_second ? i - 1 : i, fmt::format("control character 0x{:02x}", byte));
    }
  }
}

}  // namespace

std::vector<Case> parse_cases(std::string_view text, std::string_view file_name,
                              const OperatorsOf& operators_of) {
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  TableReader reader(operators_of);
  Line line{.file = file_name, .number = 0, .text = {}};
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    line = {.file = file_name, .number = line.number + 1, .text = text.substr(0, end)};
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.text.ends_with('\r')) line.text.remove_suffix(1);
    check_characters(line);
    const std::size_t first = line.text.find_first_not_of(" \t");
    if (first != line.text.npos && line.text[first] != '#') reader.record(line);
  }
  std::vector<Case> cases = reader.take_cases();
  if (cases.empty()) {
    const Line start{.file = file_name, .number = 1, .text = {}};
    start.fail(0, reader.has_header() ? "the table has no cases" : "the table has no header");
  }
  return cases;
}

Case parse_case(std::span<const CaseCell> cells, const OperatorsOf& operators_of, std::string_view source) {
  std::vector<std::string_view> names, texts, sources(case_columns().size(), source);
  for (const CaseColumn& column : case_columns()) {
    names.push_back(column.name);
    texts.push_back(column.fallback);
  }
  for (const CaseCell& cell : cells) {
    const std::size_t column = column_index(cell.column);
    const std::string_view place = cell.source.empty() ? source : cell.source;
    if (column == names.size()) refuse_file(place, unknown("column", cell.column, names));
    texts[column] = cell.text;
    sources[column] = place;
  }
  const auto fail = [&](std::size_t column, std::string_view message) {
    refuse_file(sources[column], message);
  };
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (texts[i].empty()) fail(i, fmt::format("{} must be given", names[i]));
  }
  return make_case([&](std::size_t column) { return texts[column]; }, operators_of, fail);
}

std::vector<Case> read_cases(const std::filesystem::path& path, const OperatorsOf& operators_of) {
  return parse_cases(read_file(path, kMaxCaseFileBytes), path.string(), operators_of);
}

}  // namespace ringside
