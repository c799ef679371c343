#include "harness/judge/finding.h"

#include <fmt/format.h>

#include <stdexcept>

namespace ringside {
namespace {

constexpr std::size_t kRanksShown = 8;

/// "rank 1: 512, rank 3: 64", or with `counts` false "1, 3"; of many ranks the first.
std::string ranks_text(const Finding& f, bool counts) {
  std::string text;
  std::size_t shown = 0;
  for (const auto& [rank, count] : f.by_rank) {
    if (shown++ == kRanksShown) return fmt::format("{} and {} more", text, f.by_rank.size() - kRanksShown);
    text += text.empty() ? "" : ", ";
    text += counts ? fmt::format("rank {}: {}", rank, count) : fmt::format("{}", rank);
  }
  return text;
}

std::string place_text(const Element& e) {
  std::string text = fmt::format("batch {}, head {}, position {}", e.batch, e.head, e.token);
  if (e.dim >= 0) text += fmt::format(", dim {}", e.dim);
  if (e.rank >= 0) text += fmt::format(" on rank {}", e.rank);
  return text;
}

std::string elements_text(const Finding& f) {
  const Element& w = *f.where;
  return fmt::format(
      "{} of {} elements beyond their bound ({}){}; worst at {}: got {:.9g}, expected {:.9g}, bound {:.3g}",
      f.wrong, f.elements, ranks_text(f, true),
      f.rule == Rule::pattern ? fmt::format(", {:.0f} of them by their NaN/inf pattern", f.measured) : "",
      place_text(w), w.value, w.expected, w.bound());
}

/// "rank 1 sent 12 bytes in forward; the formula says 8", and which other ranks depart.
std::string account_text(const Finding& f, std::string_view verb) {
  std::string text = fmt::format("{}: rank {} {} {:.0f} {}; the formula says {:.0f}", to_string(f.rule),
                                 f.by_rank.begin()->first, verb, f.measured, f.subject, f.limit);
  if (f.by_rank.size() > 1) text += fmt::format(" (ranks {} depart)", ranks_text(f, false));
  return text;
}

std::string property_text(const Finding& f) {
  const Element& w = *f.where;
  return fmt::format("{}: {} is {:.9g}, not {:.9g}{}, {}; {} of {} elements", f.subject, place_text(w),
                     w.value, w.expected, w.bound() > 0 ? fmt::format(" within {:.3g}", w.bound()) : "",
                     f.when, f.wrong, f.elements);
}

std::string rule_text(const Finding& f) {
  switch (f.rule) {
    case Rule::element:
    case Rule::pattern:
      return elements_text(f);
    case Rule::row:
      return fmt::format(
          "a row strays {:.1f} times as far as its limit, which the control (a single-rank run) with as "
          "many terms gives: {}",
          f.share, place_text(*f.where));
    case Rule::bias:
      return fmt::format(
          "biased: the least-squares slope against the reference is off by {:.3g}, limit {:.3g}", f.measured,
          f.limit);
    case Rule::error:
      return fmt::format("errs too much as a whole: relative error {:.3g}, limit {:.3g}", f.measured,
                         f.limit);
    case Rule::grid:
      return fmt::format("holds {} numbers alone on rank {}, where {} elements need more bits", f.subject,
                         ranks_text(f, false), f.wrong);
    case Rule::traffic:
      return account_text(f, "sent");
    case Rule::memory:
      return account_text(f, "held");
    case Rule::repeat:
      return fmt::format("not repeatable: rank {} gave other bits when run again", ranks_text(f, false));
    case Rule::property:
      return property_text(f);
    case Rule::mistrust:
      return fmt::format("mistrusted: {}", f.subject);
    case Rule::expectation:
      return fmt::format(
          "passed, though its row expects fail:{}; if the fault is mended, the row should lose that mark",
          f.subject);
  }
  throw std::logic_error("a finding of no rule");
}

}  // namespace

std::string_view to_string(Rule rule) {
  constexpr std::array<std::string_view, kRules.size()> kNames = {
      "element", "pattern", "row",    "bias",     "error",    "grid",
      "traffic", "memory",  "repeat", "property", "mistrust", "expectation"};
  return kNames.at(static_cast<std::size_t>(rule));
}

std::string sentence(const Finding& finding) {
  const std::string text = rule_text(finding);
  return finding.tensor ? fmt::format("{}: {}", to_string(*finding.tensor), text) : text;
}

}  // namespace ringside
