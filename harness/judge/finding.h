// Findings: facts that are wrong with a case, and their sentence.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "harness/judge/compare.h"

namespace ringside {

/// The rules of a verdict; verdict.h and properties.h have their reasons.
enum class Rule {
  element,      ///< elements beyond their bound
  pattern,      ///< likewise, some as a NaN or inf stands where none may, or is missing
  row,          ///< a row beyond what the control's rows allow
  bias,         ///< values scaled as a whole
  error,        ///< a tensor that errs more than is explained
  grid,         ///< numbers of a coarser type alone
  traffic,      ///< other bytes, messages or collectives than the formula's
  memory,       ///< other memory held than the formula's
  repeat,       ///< other bits when run again
  property,     ///< a property that does not hold
  mistrust,     ///< wrong results would have passed
  expectation,  ///< a known fault that does not show
};
inline constexpr std::array kRules = {Rule::element, Rule::pattern,  Rule::row,      Rule::bias,
                                      Rule::error,   Rule::grid,     Rule::traffic,  Rule::memory,
                                      Rule::repeat,  Rule::property, Rule::mistrust, Rule::expectation};

std::string_view to_string(Rule rule);

/// Whether the rule is about a tensor's values in the judged run.
inline bool is_of_values(Rule rule) { return rule <= Rule::grid; }

/// One thing that is wrong. A rule fills what it knows.
struct Finding {
  static constexpr double kNoSize = std::numeric_limits<double>::infinity();

  Rule rule{};
  std::optional<Out> tensor{};  ///< empty: the case as a whole
  double share = kNoSize;       ///< of the rule's limit
  /// What was measured, and its limit or what it should be: of the first rank at fault (traffic, memory);
  /// of `pattern` the elements that are so.
  double measured = 0, limit = 0;
  std::int64_t wrong = 0, elements = 0;   ///< elements at fault, and of how many
  std::map<int, std::int64_t> by_rank{};  ///< ranks at fault: their elements, bytes or messages
  std::optional<Element> where{};         ///< worst or first
  std::string subject{};  ///< in words: "bytes in forward", a property, a type, a reason, a known fault
  std::string when{};     ///< of a property: "with v doubled"
};

/// The finding as a person reads it: "dq: 3 of 64 elements beyond their bound …".
std::string sentence(const Finding& finding);

}  // namespace ringside
