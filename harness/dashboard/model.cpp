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

using Pointer = Json::json_pointer;

enum class Kind { figure, figures, flag };

/// Where a column of the model stands in a row of results, or in a part of one, and what it holds there.
struct Column {
  std::string_view name;
  const char* pointer;
  Kind kind = Kind::figure;
};

constexpr std::array kOfTensor = {Column{"max_abs", "/max_abs"},
                                  Column{"mean_abs", "/mean_abs"},
                                  Column{"relative_error", "/relative_error"},
                                  Column{"bound_share", "/bound_share"},
                                  Column{"row_share", "/row_share"},
                                  Column{"bias", "/bias"},
                                  Column{"bias_limit", "/bias_limit"},
                                  Column{"legacy", "/legacy"},
                                  Column{"published", "/published"},
                                  Column{"elements", "/elements"},
                                  Column{"telling", "/telling"},
                                  Column{"failed", "/failed"},
                                  Column{"batch", "/worst/batch"},
                                  Column{"head", "/worst/head"},
                                  Column{"position", "/worst/position"},
                                  Column{"dim", "/worst/dim"},
                                  Column{"rank", "/worst/rank"},
                                  Column{"value", "/worst/value"},
                                  Column{"expected", "/worst/expected"},
                                  Column{"bound", "/worst/bound"},
                                  Column{"relative_error_by_rank", "/relative_error_by_rank", Kind::figures},
                                  Column{"failed_by_rank", "/failed_by_rank", Kind::figures}};

constexpr std::array kOfPerf = {Column{"repeat", "/repeat"},
                                Column{"forward_s", "/forward/median_s"},
                                Column{"forward_backward_s", "/forward_backward/median_s"},
                                Column{"min_s", "/forward_backward/min_s"},
                                Column{"max_s", "/forward_backward/max_s"},
                                Column{"tokens_per_s", "/tokens_per_s"},
                                Column{"useful_tflops", "/useful_tflops"},
                                Column{"peak_tflops", "/matmul_tflops"},
                                Column{"oversubscribed", "/oversubscribed", Kind::flag}};

/// The first are measured; those after them have a formula, kFormulas in the same order.
constexpr std::array kOfRank = {
    Column{"compute_s", "/compute_s"},
    Column{"wait_s", "/wait_s"},
    Column{"other_s", "/other_s"},
    Column{"hidden_s", "/hidden_s"},
    Column{"peak_bytes", "/peak_bytes"},
    Column{"forward_bytes", "/forward/bytes"},
    Column{"forward_messages", "/forward/messages"},
    Column{"forward_collectives", "/forward/collectives"},
    Column{"backward_bytes", "/backward/bytes"},
    Column{"backward_messages", "/backward/messages"},
    Column{"backward_collectives", "/backward/collectives"},
    Column{"forward_memory", "/memory/forward"},
    Column{"backward_memory", "/memory/backward"},
};
constexpr std::array kFormulas = {
    "/formula_forward/bytes",  "/formula_forward/messages",  "/formula_forward/collectives",
    "/formula_backward/bytes", "/formula_backward/messages", "/formula_backward/collectives",
    "/formula_memory/forward", "/formula_memory/backward",
};
constexpr std::size_t kFirstFormula = kOfRank.size() - kFormulas.size();

const Json& at(const Json& json, const char* pointer) {
  static const Json none;
  const Pointer place(pointer);
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

Json cell(const Json& value, Kind kind) {
  if (kind == Kind::flag) return flag(value);
  if (kind == Kind::figure) return figure(value);
  if (!value.is_array()) return nullptr;
  Json all = Json::array();
  for (const Json& of_rank : value) all.push_back(figure(of_rank));
  return all;
}

std::string text(const Json& value) { return value.is_string() ? value.get<std::string>() : ""; }

Json texts(const Json& values) {
  Json all = Json::array();
  if (!values.is_array()) return all;
  for (const Json& value : values) {
    if (value.is_string()) all.push_back(value);
  }
  return all;
}

Json names(const auto& columns) {
  Json all = Json::array();
  for (const auto& column : columns) all.push_back(column.name);
  return all;
}

template <std::size_t N>
Json cells(const std::array<Column, N>& columns, const Json& json) {
  if (!json.is_object()) return nullptr;
  Json all = Json::array();
  for (const Column& column : columns) all.push_back(cell(at(json, column.pointer), column.kind));
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
    const Json& value = at(of_case, ("/" + name).c_str());
    const bool slope = name == "decay" && value.is_number();
    const bool same = (usual.is_number() && value.is_number()) || usual.type() == value.type();
    all.push_back(!same && !slope ? Json() : value.is_number_float() ? rounded(value.get<double>()) : value);
  }
  return all;
}

/// One figure of all ranks; a single element if all have the same.
Json over_ranks(const Json& ranks, const char* pointer) {
  Json all = Json::array();
  bool same = true;
  for (const Json& rank : ranks) {
    all.push_back(figure(at(rank, pointer)));
    same = same && all.back() == all.front();
  }
  if (same && !all.empty()) all = Json::array({all.front()});
  return all;
}

/// How many; by kOfRank; then the formulas, "=" for one that every rank keeps to.
Json rank_cells(const Json& ranks) {
  if (!ranks.is_array() || ranks.empty()) return nullptr;
  Json all = Json::array({ranks.size()});
  for (const Column& column : kOfRank) all.push_back(over_ranks(ranks, column.pointer));
  for (std::size_t i = 0; i < kFormulas.size(); ++i) {
    Json formula = over_ranks(ranks, kFormulas[i]);
    all.push_back(formula == all[1 + kFirstFormula + i] ? Json("=") : std::move(formula));
  }
  return all;
}

Json tensors_json(const Json& tensors) {
  Json all = Json::object();
  for (const std::string_view out : kOutNames) {
    const std::string name(out);
    const auto tensor = tensors.is_object() ? tensors.find(name) : tensors.end();
    if (tensors.is_object() && tensor != tensors.end() && tensor->is_object())
      all[name] = cells(kOfTensor, *tensor);
  }
  return all;
}

Json row_json(const Json& row, const Record& record, std::size_t run) {
  Json json = {{"name", record.name},
               {"status", record.status},
               {"run", run},
               {"case", case_cells(at(row, "/case"))},
               {"tensors", tensors_json(at(row, "/tensors"))}};
  const auto add = [&](const char* name, Json value) {
    if (!value.empty()) json[name] = std::move(value);
  };
  Json failures = texts(at(row, "/failures"));
  if (failures.empty() && !record.reason.empty()) json["reason"] = record.reason;
  add("failures", std::move(failures));
  add("perf", cells(kOfPerf, at(row, "/perf")));
  add("ranks", rank_cells(at(row, "/ranks")));
  if (const std::string directory = text(at(row, "/directory")); !directory.empty())
    json["directory"] = directory;
  if (const Json& checks = at(row, "/checks"); checks.is_object()) {
    Json outcomes = Json::object();
    for (const auto& [check, outcome] : checks.items()) outcomes[check] = text(outcome);
    add("checks", std::move(outcomes));
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

void add_results(Json& model, const std::vector<ResultsLog>& logs) {
  Json &runs = model["runs"], &rows = model["rows"], &machines = model["machines"];
  std::map<std::string, std::size_t> places;  // of runs, by their text
  for (const ResultsLog& log : logs) {
    const std::string file = log.path.string();
    if (log.torn) model["torn"].push_back(fmt::format("{}:{}", file, log.torn));
    for (std::size_t i = 0; i < log.lines.size(); ++i) {
      const Json row = Json::parse(log.lines[i]);
      const Record& record = log.records[i];
      Json run = run_json(row, record, file);
      const auto [place, is_new] =
          places.emplace(run.dump(-1, ' ', false, Json::error_handler_t::replace), runs.size());
      if (is_new) runs.push_back(std::move(run));
      rows.push_back(row_json(row, record, place->second));
      const Json& fields = at(row, "/machine");
      if (!fields.is_object() || machines.contains(record.setting.fingerprint)) continue;
      Json& machine = machines[record.setting.fingerprint] = Json::object();
      for (const auto& [name, value] : fields.items()) machine[name] = text(value);
    }
  }
}

/// The newest of a series, so that the page stays small.
constexpr std::size_t kMostShown = 100;

void add_history(Json& model, const std::vector<Series>& history) {
  Json &commits = model["commits"], &all = model["history"];
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

}  // namespace

std::string dashboard_json(const DashboardData& data) {
  Json model = {{"program", build_commit()},
                {"columns",
                 {{"case", names(case_columns())},
                  {"fallbacks", fallbacks()},
                  {"tensor", names(kOfTensor)},
                  {"perf", names(kOfPerf)},
                  {"rank", names(kOfRank)},
                  {"formulas_from", kFirstFormula}}},
                {"torn", Json::array()},
                {"machines", Json::object()},
                {"runs", Json::array()},
                {"rows", Json::array()},
                {"commits", Json::array()},
                {"history", Json::array()},
                {"gates", Json::array()}};
  add_results(model, data.logs);
  add_history(model, data.history);
  for (const GateReport& report : data.gates) model["gates"].push_back(Json::parse(gate_json(report)));
  return model.dump(-1, ' ', false, Json::error_handler_t::replace);  // a path may be any bytes
}

}  // namespace ringside
