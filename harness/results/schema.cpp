#include "harness/results/schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

#include "harness/cases/case_json.h"
#include "harness/results/schema_table.h"

namespace ringside {
namespace {

using enum FieldKind;

/// Adds their fields, the names and pointers with a prefix.
template <typename From>
void add_fields(std::vector<Field>& all, const std::vector<Source<From>>& sources,
                const std::string& name = "", const std::string& pointer = "", const char* help = "") {
  for (const Field& source : sources) {
    Field& field = all.emplace_back(source);
    field.name = name + field.name;
    field.pointer = pointer + field.pointer;
    field.help += help;
  }
}

template <typename... Sources>
std::vector<Field> fields_of(const Sources&... sources) {
  std::vector<Field> all;
  (add_fields(all, sources), ...);
  return all;
}

std::vector<Field> make_fields() {
  std::vector<Field> all = fields_of(kFirst);
  const Json of_case = case_json(Case{});
  for (const auto& [column, value] : of_case.items()) {
    const FieldKind kind = value.is_boolean() ? flag : value.is_number() ? told : text;
    all.push_back({column, "/case/" + column, kind, "", "of the case"});
  }
  for (const std::string_view out : kOutNames)
    add_fields(all, kOfTensor, fmt::format("{}_", out), fmt::format("/tensors/{}", out));
  all.insert(all.end(), case_fields().begin(), case_fields().end());
  add_fields(all, kOfRun);
  return all;
}

}  // namespace

const std::vector<Field>& fields() {
  static const std::vector<Field> all = make_fields();
  return all;
}

const std::vector<Field>& tensor_fields() {
  static const std::vector<Field> all = fields_of(kOfTensor);
  return all;
}

const std::vector<Field>& case_fields() {
  static const std::vector<Field> all = [] {
    std::vector<Field> of_case;
    add_fields(of_case, kSummed, "", "/sums", ", all ranks");
    add_fields(of_case, kLargest, "", "/sums", "; the rank with most");
    add_fields(of_case, kPerf);
    add_fields(of_case, kWall);
    return of_case;
  }();
  return all;
}

const std::vector<Field>& rank_fields() {
  static const std::vector<Field> all = fields_of(kSummed, kLargest);
  return all;
}

const std::vector<Field>& figures() {
  static const std::vector<Field> all = [] {
    std::vector<Field> figures = fields();
    std::erase_if(figures, [](const Field& field) { return field.kind < exact; });
    return figures;
  }();
  return all;
}

std::size_t figure_index(std::string_view name) {
  const auto at = std::ranges::find(figures(), name, &Field::name);
  if (at == figures().end()) throw std::logic_error(fmt::format("no figure {}", name));
  return static_cast<std::size_t>(at - figures().begin());
}

}  // namespace ringside
