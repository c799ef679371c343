#include "harness/results/schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "harness/cases/case_json.h"
#include "harness/results/finding_json.h"
#include "harness/results/schema_table.h"

namespace ringside {
namespace {

using enum FieldKind;

template <typename From>
void put(Json& json, const std::vector<Source<From>>& sources, const From& from) {
  for (const Source<From>& source : sources) {
    Json value = source.get(from);
    if (value.is_number_float()) value = json_number(value.get<double>());
    json[Json::json_pointer(source.pointer)] = std::move(value);
  }
}

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

// --- a row

Json ranks_json(const CaseResult& r) {
  Json all = Json::array();
  for (std::size_t rank = 0; rank < r.ranks.size(); ++rank) {
    const OfRank of = {r.ranks[rank], r.expected_traffic[rank], r.expected_memory[rank]};
    put(all.emplace_back(), kSummed, of);
    put(all.back(), kLargest, of);
    if (r.timelines.empty()) continue;
    for (const Total& total : compute_totals(r.timelines[rank])) {
      all.back()["by_operation"][std::string(total.name)] = {{"count", total.count},
                                                             {"seconds", total.seconds}};
    }
  }
  return all;
}

/// Puts one figure over all ranks, which there are, into `sums`.
template <typename Join>
void put_joined(Json& sums, const std::vector<Source<OfRank>>& sources, const Json& ranks, const Join& join) {
  for (const Field& field : sources) {
    const Json::json_pointer pointer(field.pointer);
    for (const Json& rank : ranks) {
      Json& total = sums[pointer];
      total = total.is_null() ? rank.at(pointer) : join(total, rank.at(pointer));
    }
  }
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

Json row_json(const CaseResult& r, const RunInfo& run) {
  Json row;
  const OfRow of = {r, run};
  put(row, kFirst, of);
  row["case"] = case_json(r.c);
  put(row, kOfRun, of);
  for (const auto& [name, value] : run.machine.fields) row["machine"][name] = value;
  if (r.status == Status::skip) return row;
  row["findings"] = findings_json(r);
  row["checks"] = checks_json(r);
  for (const Out out : kOuts) {
    if (r.tensors[out].given) put(row["tensors"][std::string(to_string(out))], kOfTensor, {r, out});
  }
  row["perf"] = nullptr;
  if (r.repeat > 0) put(row, kPerf, of);
  put(row, kWall, of);
  if (r.ranks.empty()) return row;  // nothing ran: only tensors were given
  Json ranks = ranks_json(r);
  put_joined(row["sums"], kSummed, ranks, [](const Json& a, const Json& b) {
    return Json(a.get<std::int64_t>() + b.get<std::int64_t>());
  });
  put_joined(row["sums"], kLargest, ranks, [](const Json& a, const Json& b) { return std::max(a, b); });
  row["ranks"] = std::move(ranks);
  return row;
}

}  // namespace ringside
