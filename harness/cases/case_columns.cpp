// The columns of a case file: names, defaults, and how a cell becomes a value.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <limits>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include "harness/base/csv.h"
#include "harness/base/text.h"
#include "harness/cases/case_file.h"
#include "reference/error.h"

namespace ringside {
namespace {

constexpr std::array kOperators = {Operator::softmax, Operator::lightning};

template <std::integral T>
T parse_number(std::string_view what, std::string_view text, T low, T high) {
  const auto value = number_in<T>(text);
  if (value && *value >= low && *value <= high) return *value;
  throw UsageError(
      fmt::format("{} must be a whole number from {} to {}, not {}", what, low, high, in_quotes(text)));
}

// The enumerator among `all` that to_string() calls `text`.
template <typename Enum, std::size_t N>
Enum parse_name(std::string_view what, std::string_view text, const std::array<Enum, N>& all) {
  std::vector<std::string_view> names;
  for (const Enum value : all) {
    if (text == to_string(value)) return value;
    names.push_back(to_string(value));
  }
  throw UsageError(unknown(what, text, names));
}

DecaySpec parse_decay(std::string_view text) {
  if (text == "alibi") return {};
  const auto slope = number_in<float>(text);
  if (!slope || !std::isfinite(*slope) || !(*slope >= 0))
    throw UsageError(fmt::format("decay must be alibi or a finite fp32 slope >= 0, not {}", in_quotes(text)));
  return {.slope = *slope + 0.0f};  // -0 becomes 0
}

bool parse_causal(std::string_view text) {
  constexpr std::array<std::string_view, 2> kBooleans = {"true", "false"};
  if (text != "true" && text != "false") throw UsageError(unknown("causal", text, kBooleans));
  return text == "true";
}

std::vector<Check> parse_checks(std::string_view text) {
  if (text == "none") return {};
  if (text == "all") return {kChecks.begin(), kChecks.end()};
  std::vector<Check> checks;
  for (std::string_view rest = text;; rest.remove_prefix(rest.find('+') + 1)) {
    checks.push_back(parse_name("check", rest.substr(0, rest.find('+')), kChecks));
    if (rest.find('+') == rest.npos) break;
  }
  std::ranges::sort(checks);
  if (const auto twice = std::ranges::adjacent_find(checks); twice != checks.end()) {
    throw UsageError(fmt::format("check {} is there twice", to_string(*twice)));
  }
  return checks;
}

/// "0+100+250" -> {0, 100, 250}.
std::vector<Index> parse_documents(std::string_view text) {
  if (text == "none") return {};
  std::vector<Index> bounds;
  for (std::string_view rest = text;; rest.remove_prefix(rest.find('+') + 1)) {
    const auto bound =
        parse_number("a bound of cu_seqlens", rest.substr(0, rest.find('+')), Index{0}, kMaxSize);
    if (bounds.empty() ? bound != 0 : bound <= bounds.back()) {
      throw UsageError(fmt::format("cu_seqlens must begin with 0 and increase: {} follows {}", bound,
                                   bounds.empty() ? "nothing" : std::to_string(bounds.back())));
    }
    bounds.push_back(bound);
    if (rest.find('+') == rest.npos) break;
  }
  if (bounds.size() == 1) throw UsageError("cu_seqlens needs the end of the document that begins at 0");
  return bounds;
}

/// The REASON of "fail:REASON"; "" for "pass".
std::string parse_fault(std::string_view text) {
  constexpr std::string_view kMark = "fail:";
  constexpr std::size_t kLongest = 300;  // bytes: a cell may stand for 100 000 cases
  if (text == "pass") return "";
  std::string_view fault = text;
  if (fault.starts_with(kMark))
    fault.remove_prefix(std::min(fault.find_first_not_of(" \t", kMark.size()), fault.size()));
  if (!text.starts_with(kMark) || fault.empty()) {
    throw UsageError(fmt::format("expect must be pass or fail:REASON, not {}", in_quotes(text)));
  }
  if (fault.size() > kLongest || !is_utf8(fault)) {
    throw UsageError(fmt::format("the REASON of expect must be at most {} bytes of UTF-8", kLongest));
  }
  return std::string(fault);
}

/// A column whose text is a whole number.
template <auto field, std::int64_t low, std::int64_t high>
constexpr CaseColumn number_column(std::string_view name, std::string_view fallback, std::string_view help) {
  return {name,
          fallback,
          help,
          [](Case& c, std::string_view column, std::string_view text) {
            using Number = std::remove_reference_t<decltype(c.*field)>;
            c.*field = parse_number<Number>(column, text, low, high);
          },
          [](const Case& c) { return std::to_string(c.*field); },
          true};
}

/// A column whose text is the name of an enumerator among `all`.
template <auto field, const auto& all>
constexpr CaseColumn name_column(std::string_view name, std::string_view fallback, std::string_view help) {
  return {name, fallback, help,
          [](Case& c, std::string_view column, std::string_view text) {
            c.*field = parse_name(column, text, all);
          },
          [](const Case& c) { return std::string(to_string(c.*field)); }};
}

constexpr std::array kColumns = {
    CaseColumn{"variant", "", "algorithm under test, as `ringside list` names it",
               [](Case& c, std::string_view, std::string_view text) { c.variant = text; },
               [](const Case& c) { return c.variant; }},
    CaseColumn{"operator", "own",
               "softmax or lightning, for a variant that serves both; own: the (first) one that it serves",
               [](Case& c, std::string_view column, std::string_view text) {
                 if (text != "own") c.op = parse_name(column, text, kOperators);
               },
               [](const Case& c) { return std::string(to_string(c.op)); }},
    name_column<&Case::dtype, kDTypes>("dtype", "fp32", "storage of all tensors: fp32, bf16 or fp16"),
    name_column<&Case::math, kMaths>("math", "fp32",
                                     "operands of matrix products: fp32 (as they are), tf32 or bf16"),
    number_column<&Case::batch, 1, kMaxSize>("batch", "1",
                                             "batch entries over all data-parallel groups; a multiple of dp"),
    number_column<&Case::seq, 1, kMaxSize>("seq", "", "tokens of a sequence, over all its ranks"),
    number_column<&Case::heads, 1, kMaxHeads>("heads", "1", "query heads"),
    CaseColumn{"kv_heads", "heads", "key and value heads, a divisor of heads",
               [](Case& c, std::string_view column, std::string_view text) {
                 c.kv_heads = text == "heads" ? c.heads : parse_number(column, text, Index{1}, kMaxHeads);
               },
               [](const Case& c) { return std::to_string(c.kv_heads); }, true},
    number_column<&Case::head_dim, 1, kMaxSize>("head_dim", "", "d, of q and k"),
    CaseColumn{"value_dim", "head_dim", "e, of v and the output",
               [](Case& c, std::string_view column, std::string_view text) {
                 c.value_dim =
                     text == "head_dim" ? c.head_dim : parse_number(column, text, Index{1}, kMaxSize);
               },
               [](const Case& c) { return std::to_string(c.value_dim); }, true},
    number_column<&Case::dp, 1, kMaxRanks>("dp", "1", "data-parallel groups"),
    number_column<&Case::sp, 1, kMaxRanks>("sp", "1", "ranks that share a sequence; dp·sp <= 4096"),
    CaseColumn{"causal", "true", "true or false; lightning is always causal",
               [](Case& c, std::string_view, std::string_view text) { c.causal = parse_causal(text); },
               [](const Case& c) { return std::string(c.causal ? "true" : "false"); }, true},
    CaseColumn{"decay", "alibi", "lightning's decay slopes: alibi, or one slope >= 0 for all heads",
               [](Case& c, std::string_view, std::string_view text) { c.decay = parse_decay(text); },
               [](const Case& c) { return to_string(c.decay); }},
    name_column<&Case::fill, kFills>(
        "fill", "gaussian",
        "input values: gaussian, large_logit, exact, one_hot, constant, denormal, inf or nan"),
    number_column<&Case::seed, 0, std::numeric_limits<std::int64_t>::max()>("seed", "1",
                                                                            "of the inputs, below 2^63"),
    number_column<&Case::sample, 0, kMaxSize>(
        "sample", "0", "softmax: query rows of each head that are checked, for long sequences; 0: all"),
    number_column<&Case::window, 0, kMaxSize>(
        "window", "0",
        "softmax, causal: a query sees so many keys, the last of them its own; 0: all before it"),
    CaseColumn{"cu_seqlens", "none",
               "documents packed into each sequence: their bounds, joined by +, as in 0+100+250; none: one",
               [](Case& c, std::string_view, std::string_view text) { c.cu_seqlens = parse_documents(text); },
               [](const Case& c) { return documents_text(c.cu_seqlens); }},
    number_column<&Case::padding, 0, kMaxSize>(
        "padding", "0", "tokens at the end of each sequence, behind cu_seqlens, that are in no document"),
    name_column<&Case::partials, kDTypes>(
        "partials", "fp32",
        "softmax: what blocks' results are rounded to before they are merged or summed: fp32 (they "
        "are not), bf16 or fp16"),
    CaseColumn{"checks", "none", "properties to check, as `ringside list` names them, joined by +; or all",
               [](Case& c, std::string_view, std::string_view text) { c.checks = parse_checks(text); },
               [](const Case& c) { return to_string(c.checks); }},
    CaseColumn{"expect", "pass",
               "pass, or fail:REASON for a known fault of upstream's: the case is red if it passes",
               [](Case& c, std::string_view, std::string_view text) { c.fault = parse_fault(text); },
               [](const Case& c) { return c.fault.empty() ? std::string("pass") : "fail:" + c.fault; }},
};

}  // namespace

std::span<const CaseColumn> case_columns() { return kColumns; }

std::vector<CaseCell> parse_cells(std::string_view text) {
  std::vector<CaseCell> cells;
  while (!text.empty()) {
    const std::string_view cell = text.substr(0, text.find(','));
    text.remove_prefix(std::min(cell.size() + 1, text.size()));
    const std::size_t at = cell.find('=');
    if (at == cell.npos || at == 0 || at + 1 == cell.size())
      throw UsageError(fmt::format("{} is not column=value", in_quotes(cell)));
    if (std::ranges::find(cells, cell.substr(0, at), &CaseCell::column) != cells.end())
      throw UsageError(fmt::format("column {} is there twice", cell.substr(0, at)));
    cells.push_back({.column = std::string(cell.substr(0, at)), .text = std::string(cell.substr(at + 1))});
  }
  return cells;
}

void enter(Case& c, const CaseCell& cell) {
  const auto column = std::ranges::find(kColumns, cell.column, &CaseColumn::name);
  if (column == kColumns.end()) throw std::invalid_argument("no column " + cell.column);
  try {
    column->parse(c, cell.column, cell.text);
  } catch (const UsageError& error) {
    refuse_file(cell.source, error.what());
  }
}

std::vector<CaseCell> cells_of(const Case& c) {
  std::vector<CaseCell> cells;
  for (const CaseColumn& column : kColumns)
    cells.push_back({.column = std::string(column.name), .text = column.write(c)});
  return cells;
}

const CaseCell* find_cell(const std::vector<CaseCell>& cells, std::string_view column) {
  const auto at =
      std::find_if(cells.rbegin(), cells.rend(), [&](const CaseCell& c) { return c.column == column; });
  return at == cells.rend() ? nullptr : &*at;
}

void add_usual_math(std::vector<CaseCell>& cells) {
  const CaseCell* const dtype = find_cell(cells, "dtype");
  if (!dtype || find_cell(cells, "math")) return;
  const bool bf16 = dtype->text == "bf16", fp16 = dtype->text == "fp16";  // cells move when one is added
  if (bf16) cells.push_back({"math", "bf16"});
  if (fp16) cells.push_back({"math", "tf32"});
}

std::string case_table(const std::vector<Case>& cases) {
  std::string text = csv_line(kColumns, [](const CaseColumn& column) { return column.name; }) + '\n';
  for (const Case& c : cases)
    text += csv_line(kColumns, [&](const CaseColumn& column) { return column.write(c); }) + '\n';
  return text;
}

}  // namespace ringside
