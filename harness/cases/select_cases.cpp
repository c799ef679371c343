#include "harness/cases/select_cases.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <regex>

#include "distributed/variant.h"
#include "harness/base/text.h"
#include "reference/error.h"

namespace ringside {

std::vector<Operator> registered_operators(std::string_view name) {
  std::vector<Operator> served;
  for (const Operator op : {Operator::softmax, Operator::lightning}) {
    if (find_variant(name, op)) served.push_back(op);
  }
  if (served.empty()) {
    const std::string_view family = name.substr(0, name.find('.'));
    for (const Family& f : families()) {
      if (family != f.name) continue;
      throw UsageError(
          fmt::format("unknown variant {}: {} needs its number from 1 to 2147483647, as in {}.2 ({})",
                      in_quotes(name), f.name, f.name, f.meaning));
    }
  }
  return served;
}

std::vector<Case> select_cases(const std::string& file, const std::string& filter) {
  std::vector<Case> cases = read_cases(file, registered_operators);
  try {
    const std::regex regex(filter);
    std::erase_if(cases, [&](const Case& c) { return !std::regex_search(c.name(), regex); });
  } catch (const std::regex_error& error) {
    throw UsageError(fmt::format("--filter '{}': {}", filter, error.what()));
  }
  if (cases.empty())
    throw UsageError(fmt::format("{}: no case ran: none matches --filter '{}'", file, filter));
  return cases;
}

std::vector<CaseCell> case_cells(const std::string& text, const std::string& filter) {
  if (text.find('=') != std::string::npos) return parse_cells(text);
  const std::vector<Case> cases = select_cases(text, filter);
  if (cases.size() > 1) {
    throw UsageError(fmt::format("{}: {} cases, the first {}; --filter must leave one", text, cases.size(),
                                 cases.front().name()));
  }
  return cells_of(cases.front());
}

Layout layout_named(const CaseCell& cell, const std::vector<CaseCell>& cells) {
  const std::string& name = cell.text;
  const std::vector<std::string_view> names = {"contiguous", "zigzag", "striped"};
  const std::array layouts = {Layout::contiguous, Layout::zigzag, Layout::striped};
  const std::size_t slash = name.find('/');  // "zigzag/2": as to_string() writes it
  const auto at = std::ranges::find(names, name.substr(0, slash));
  if (at != names.end()) {
    Layout layout = layouts[static_cast<std::size_t>(at - names.begin())];
    if (slash == name.npos) return layout;
    layout.parts = number_in<int>(std::string_view(name).substr(slash + 1)).value_or(0);
    if (layout.parts >= 1) return layout;
  }
  if (!name.empty()) refuse_file(cell.source, unknown("layout", name, names));
  const CaseCell* const variant = find_cell(cells, "variant");
  for (const Operator op : {Operator::softmax, Operator::lightning}) {
    if (const Variant* known = variant ? find_variant(variant->text, op) : nullptr) return known->layout;
  }
  return Layout::contiguous;
}

std::string standard_key(const Case& c) {
  Case key = c;
  if (c.partials == DType::fp32) {
    key.variant = "";
    key.sp = 1;
  } else {  // which are rounded, depends on who holds what
    key.variant = to_string(find_variant(c.variant, c.op)->layout);
  }
  key.dp = 1;
  return key.name();
}

}  // namespace ringside
