// The columns of a case file: names, defaults, and how a cell becomes a value.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <concepts>
#include <numeric>
#include <stdexcept>
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
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < low || value > high) {
    throw UsageError(
        fmt::format("{} must be a whole number from {} to {}, not {}", what, low, high, in_quotes(text)));
  }
  return value;
}

Index parse_size(std::string_view what, std::string_view text, Index largest = kMaxSize) {
  return parse_number(what, text, Index{1}, largest);
}

int parse_ranks(std::string_view what, std::string_view text) {
  return parse_number(what, text, 1, kMaxRanks);
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
  float slope = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), slope);
  if (error != std::errc{} || end != text.data() + text.size() || !std::isfinite(slope) || !(slope >= 0)) {
    throw UsageError(fmt::format("decay must be alibi or a finite fp32 slope >= 0, not {}", in_quotes(text)));
  }
  return {.slope = slope + 0.0f};  // -0 becomes 0
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
  std::string_view reason = text;
  if (reason.starts_with(kMark))
    reason.remove_prefix(std::min(reason.find_first_not_of(" \t", kMark.size()), reason.size()));
  if (!text.starts_with(kMark) || reason.empty()) {
    throw UsageError(fmt::format("expect must be pass or fail:REASON, not {}", in_quotes(text)));
  }
  if (reason.size() > kLongest || !is_utf8(reason)) {
    throw UsageError(fmt::format("the REASON of expect must be at most {} bytes of UTF-8", kLongest));
  }
  return std::string(reason);
}

constexpr std::array kColumns = {
    CaseColumn{"variant", "", "algorithm under test, as `ringside list` names it",
               [](Case& c, std::string_view text) { c.variant = text; },
               [](const Case& c) { return c.variant; }},
    CaseColumn{"operator", "own",
               "softmax or lightning, for a variant that serves both; own: the (first) one that it serves",
               [](Case& c, std::string_view text) {
                 if (text != "own") c.op = parse_name("operator", text, kOperators);
               },
               [](const Case& c) { return std::string(to_string(c.op)); }},
    CaseColumn{"dtype", "fp32", "storage of all tensors: fp32, bf16 or fp16",
               [](Case& c, std::string_view text) { c.dtype = parse_name("dtype", text, kDTypes); },
               [](const Case& c) { return std::string(to_string(c.dtype)); }},
    CaseColumn{"math", "fp32", "operands of matrix products: fp32 (as they are), tf32 or bf16",
               [](Case& c, std::string_view text) { c.math = parse_name("math", text, kMaths); },
               [](const Case& c) { return std::string(to_string(c.math)); }},
    CaseColumn{"batch", "1", "batch entries over all data-parallel groups; a multiple of dp",
               [](Case& c, std::string_view text) { c.batch = parse_size("batch", text); },
               [](const Case& c) { return std::to_string(c.batch); }},
    CaseColumn{"seq", "", "tokens of a sequence, over all its ranks",
               [](Case& c, std::string_view text) { c.seq = parse_size("seq", text); },
               [](const Case& c) { return std::to_string(c.seq); }},
    CaseColumn{"heads", "1", "query heads",
               [](Case& c, std::string_view text) { c.heads = parse_size("heads", text, kMaxHeads); },
               [](const Case& c) { return std::to_string(c.heads); }},
    CaseColumn{"kv_heads", "heads", "key and value heads, a divisor of heads",
               [](Case& c, std::string_view text) {
                 c.kv_heads = text == "heads" ? c.heads : parse_size("kv_heads", text, kMaxHeads);
               },
               [](const Case& c) { return std::to_string(c.kv_heads); }},
    CaseColumn{"head_dim", "", "d, of q and k",
               [](Case& c, std::string_view text) { c.head_dim = parse_size("head_dim", text); },
               [](const Case& c) { return std::to_string(c.head_dim); }},
    CaseColumn{"value_dim", "head_dim", "e, of v and the output",
               [](Case& c, std::string_view text) {
                 c.value_dim = text == "head_dim" ? c.head_dim : parse_size("value_dim", text);
               },
               [](const Case& c) { return std::to_string(c.value_dim); }},
    CaseColumn{"dp", "1", "data-parallel groups",
               [](Case& c, std::string_view text) { c.dp = parse_ranks("dp", text); },
               [](const Case& c) { return std::to_string(c.dp); }},
    CaseColumn{"sp", "1", "ranks that share a sequence; dp·sp <= 4096",
               [](Case& c, std::string_view text) { c.sp = parse_ranks("sp", text); },
               [](const Case& c) { return std::to_string(c.sp); }},
    CaseColumn{"causal", "true", "true or false; lightning is always causal",
               [](Case& c, std::string_view text) { c.causal = parse_causal(text); },
               [](const Case& c) { return std::string(c.causal ? "true" : "false"); }},
    CaseColumn{"decay", "alibi", "lightning's decay slopes: alibi, or one slope >= 0 for all heads",
               [](Case& c, std::string_view text) { c.decay = parse_decay(text); },
               [](const Case& c) { return to_string(c.decay); }},
    CaseColumn{"fill", "gaussian",
               "input values: gaussian, large_logit, exact, one_hot, constant, denormal, inf or nan",
               [](Case& c, std::string_view text) { c.fill = parse_name("fill", text, kFills); },
               [](const Case& c) { return std::string(to_string(c.fill)); }},
    CaseColumn{"seed", "1", "of the inputs, below 2^63",
               [](Case& c, std::string_view text) {
                 constexpr std::uint64_t kMaxSeed = (std::uint64_t{1} << 63) - 1;
                 c.seed = parse_number("seed", text, std::uint64_t{0}, kMaxSeed);
               },
               [](const Case& c) { return std::to_string(c.seed); }},
    CaseColumn{
        "sample", "0", "softmax: query rows of each head that are checked, for long sequences; 0: all",
        [](Case& c, std::string_view text) { c.sample = parse_number("sample", text, Index{0}, kMaxSize); },
        [](const Case& c) { return std::to_string(c.sample); }},
    CaseColumn{
        "window", "0",
        "softmax, causal: a query sees so many keys, the last of them its own; 0: all before it",
        [](Case& c, std::string_view text) { c.window = parse_number("window", text, Index{0}, kMaxSize); },
        [](const Case& c) { return std::to_string(c.window); }},
    CaseColumn{"cu_seqlens", "none",
               "documents packed into each sequence: their bounds, joined by +, as in 0+100+250; none: one",
               [](Case& c, std::string_view text) { c.cu_seqlens = parse_documents(text); },
               [](const Case& c) { return documents_text(c.cu_seqlens); }},
    CaseColumn{
        "padding", "0", "tokens at the end of each sequence, behind cu_seqlens, that are in no document",
        [](Case& c, std::string_view text) { c.padding = parse_number("padding", text, Index{0}, kMaxSize); },
        [](const Case& c) { return std::to_string(c.padding); }},
    CaseColumn{"partials", "fp32",
               "softmax: what blocks' results are rounded to before they are merged or summed: fp32 (they "
               "are not), bf16 or fp16",
               [](Case& c, std::string_view text) { c.partials = parse_name("partials", text, kDTypes); },
               [](const Case& c) { return std::string(to_string(c.partials)); }},
    CaseColumn{"checks", "none", "properties to check, as `ringside list` names them, joined by +; or all",
               [](Case& c, std::string_view text) { c.checks = parse_checks(text); },
               [](const Case& c) { return to_string(c.checks); }},
    CaseColumn{"expect", "pass",
               "pass, or fail:REASON for a known fault of upstream's: the case is red if it passes",
               [](Case& c, std::string_view text) { c.fault = parse_fault(text); },
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
    column->parse(c, cell.text);
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
  std::string text;
  for (const CaseColumn& column : kColumns) text.append(text.empty() ? "" : ",").append(column.name);
  text += '\n';
  for (const Case& c : cases) {
    for (const CaseColumn& column : kColumns) {
      text.append(&column == &kColumns.front() ? "" : ",").append(csv_cell(column.write(c)));
    }
    text += '\n';
  }
  return text;
}

}  // namespace ringside
