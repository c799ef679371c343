#include "harness/dashboard/model.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <map>
#include <span>
#include <string_view>
#include <tuple>
#include <utility>

#include "harness/base/fingerprint.h"
#include "harness/base/json.h"
#include "harness/cases/case.h"
#include "harness/cases/case_file.h"
#include "harness/cases/case_json.h"
#include "harness/tensors/outputs.h"

namespace ringside {
namespace {

const Json& at(const Json& json, const std::string& pointer) {
  static const Json none;
  const Json::json_pointer place(pointer);
  return json.contains(place) ? json.at(place) : none;
}

Json rounded(double x) {
  if (!std::isfinite(x)) return json_number(x);
  return std::strtod(fmt::format("{:.6g}", x).c_str(), nullptr);
}

/// A figure as results have it; null for what is none.
Json figure(const Json& value) {
  if (value.is_number_float()) return rounded(value.get<double>());
  if (value.is_number()) return value;
  if (value == "nan" || value == "inf" || value == "-inf") return value;
  return nullptr;
}

Json flag(const Json& value) { return value.is_boolean() ? value : Json(); }

std::string text(const Json& value) { return value.is_string() ? value.get<std::string>() : ""; }

Json cell(const Json& value, FieldKind kind) {
  if (kind == FieldKind::text) return value.is_string() ? value : Json();
  if (kind == FieldKind::flag) return flag(value);
  if (kind != FieldKind::list) return figure(value);
  if (!value.is_array()) return nullptr;
  Json all = Json::array();
  for (const Json& of_rank : value) all.push_back(figure(of_rank));
  return all;
}

Json columns_json(const std::vector<Field>& fields) {
  Json all = Json::array();
  for (const Field& field : fields)
    all.push_back({{"name", field.name}, {"unit", field.unit}, {"help", field.help}});
  return all;
}

Json names(const auto& columns) {
  Json all = Json::array();
  for (const auto& column : columns) all.push_back(column.name);
  return all;
}

Json cells(const std::vector<Field>& fields, const Json& json) {
  Json all = Json::array();
  for (const Field& field : fields) all.push_back(cell(at(json, field.pointer), field.kind));
  return all;
}

/// What a case file need not say, column by column; empty for what it must.
Json fallbacks() {
  Json all = Json::array();
  for (const CaseColumn& column : case_columns()) all.push_back(column.fallback);
  return all;
}

Json case_cells(const Json& of_case) {
  static const Json some_case = case_json(Case{});  // each column with a value of its type
  Json all = Json::array();
  for (const auto& [name, usual] : some_case.items()) {
    const Json& value = at(of_case, "/" + name);
    const bool slope = name == "decay" && value.is_number();
    const bool same = (usual.is_number() && value.is_number()) || usual.type() == value.type();
    all.push_back(!same && !slope ? Json() : value.is_number_float() ? rounded(value.get<double>()) : value);
  }
  return all;
}

/// One figure of all ranks; a single element if all have the same.
Json over_ranks(const Json& ranks, const Field& field) {
  Json all = Json::array();
  bool same = true;
  for (const Json& rank : ranks) {
    all.push_back(figure(at(rank, field.pointer)));
    same = same && all.back() == all.front();
  }
  if (same && !all.empty()) all = Json::array({all.front()});
  return all;
}

/// How many; then by rank_fields().
Json rank_cells(const Json& ranks) {
  if (!ranks.is_array() || ranks.empty()) return nullptr;
  Json all = Json::array({ranks.size()});
  for (const Field& field : rank_fields()) all.push_back(over_ranks(ranks, field));
  return all;
}

Json tensors_json(const Json& tensors) {
  Json all = Json::object();
  for (const std::string_view out : kOutNames) {
    const std::string name(out);
    const auto tensor = tensors.is_object() ? tensors.find(name) : tensors.end();
    if (tensors.is_object() && tensor != tensors.end() && tensor->is_object())
      all[name] = cells(tensor_fields(), *tensor);
  }
  return all;
}

/// Texts of a finding: "rule", "tensor", "text".
Json finding_cells(const Json& finding) {
  Json texts = Json::object();
  for (const char* member : {"rule", "tensor", "text"}) {
    if (const Json& value = at(finding, fmt::format("/{}", member)); value.is_string()) texts[member] = value;
  }
  return texts;
}

Json page_row(const Json& row, const Record& record, std::size_t run) {
  Json json = {{"name", record.name},
               {"status", record.status},
               {"run", run},
               {"case", case_cells(at(row, "/case"))},
               {"tensors", tensors_json(at(row, "/tensors"))},
               {"reason", record.reason},
               {"findings", Json::array()},
               {"checks", Json::object()},
               {"figures", ran(record) ? cells(case_fields(), row) : Json()},
               {"ranks", rank_cells(at(row, "/ranks"))},
               {"directory", cell(at(row, "/directory"), FieldKind::text)}};
  if (const Json& findings = at(row, "/findings"); findings.is_array()) {
    for (const Json& finding : findings) json["findings"].push_back(finding_cells(finding));
  }
  if (const Json& checks = at(row, "/checks"); checks.is_object()) {
    for (const auto& [check, made] : checks.items())
      json["checks"][check] = {text(at(made, "/outcome")), text(at(made, "/note"))};
  }
  return json;
}

Json run_json(const Json& row, const Record& record, const std::string& file) {
  return {{"file", file},
          {"schema", figure(at(row, "/schema"))},
          {"commit", record.commit},
          {"subject", record.subject},
          {"started", record.started},
          {"fingerprint", record.setting.fingerprint},
          {"communicator", record.setting.communicator},
          {"device", record.setting.device},
          {"world", record.setting.world},
          {"ftz", flag(at(row, "/ftz"))}};
}

/// The newest of a series, so that the page stays small.
constexpr std::size_t kMostShown = 100;

}  // namespace

DashboardModel::DashboardModel()
    : model_{{"program", build_commit()},
             {"columns",
              {{"case", names(case_columns())},
               {"fallbacks", fallbacks()},
               {"tensor", columns_json(tensor_fields())},
               {"figures", columns_json(case_fields())},
               {"rank", columns_json(rank_fields())}}},
             {"torn", Json::array()},
             {"machines", Json::object()},
             {"runs", Json::array()},
             {"rows", Json::array()},
             {"commits", Json::array()},
             {"history", Json::array()},
             {"gates", Json::array()}} {}

ResultsLog DashboardModel::add_results(const std::filesystem::path& path) {
  Json &runs = model_["runs"], &machines = model_["machines"];
  const std::string file = results_file(path).string();
  ResultsLog log = read_results(path, [&](const Record& record, const Json& row) {
    Json run = run_json(row, record, file);
    const auto [place, is_new] =
        runs_.emplace(run.dump(-1, ' ', false, Json::error_handler_t::replace), runs.size());
    if (is_new) runs.push_back(std::move(run));
    model_["rows"].push_back(page_row(row, record, place->second));
  });
  for (const auto& [fingerprint, facts] : log.machines) {
    if (machines.contains(fingerprint)) continue;
    Json& machine = machines[fingerprint] = Json::object();
    const Json fields = Json::parse(facts);
    for (const auto& [name, value] : fields.items()) machine[name] = text(value);
  }
  if (log.torn) model_["torn"].push_back(fmt::format("{}:{}", file, log.torn));
  return log;
}

void DashboardModel::add_history(const std::vector<Series>& history) {
  Json &commits = model_["commits"], &all = model_["history"];
  std::map<std::tuple<std::string, std::string, std::string>, std::size_t> places;
  for (const Series& series : history) {
    const std::size_t first = series.points.size() - std::min(series.points.size(), kMostShown);
    Json points = Json::array(), steps = Json::array();
    for (const SeriesPoint& p : std::span(series.points).subspan(first)) {
      const auto [place, is_new] = places.emplace(std::tuple(p.started, p.commit, p.subject), commits.size());
      if (is_new) commits.push_back({p.started, p.commit, p.subject});
      points.push_back({place->second, rounded(p.value)});
    }
    for (const ChangePoint& change : series.changes) {
      if (change.at > first) steps.push_back(change.at - first);
    }
    all.push_back({{"name", series.name},
                   {"figure", series.figure},
                   {"fingerprint", series.setting.fingerprint},
                   {"device", series.setting.device},
                   {"communicator", series.setting.communicator},
                   {"world", series.setting.world},
                   {"points", std::move(points)},
                   {"steps", std::move(steps)}});
  }
}

void DashboardModel::add_gate(const GateReport& report) {
  model_["gates"].push_back(Json::parse(gate_json(report)));
}

std::string DashboardModel::json() const {
  return model_.dump(-1, ' ', false, Json::error_handler_t::replace);  // a path may be any bytes
}

}  // namespace ringside
