#include "harness/case_json.h"

#include <fmt/format.h>

#include <algorithm>

#include "harness/case_text.h"
#include "reference/error.h"

namespace ringside {

nlohmann::ordered_json case_json(const Case& c) {
  nlohmann::ordered_json json = {{"variant", c.variant},
                                 {"operator", to_string(c.op)},
                                 {"dtype", to_string(c.dtype)},
                                 {"math", to_string(c.math)},
                                 {"batch", c.batch},
                                 {"seq", c.seq},
                                 {"heads", c.heads},
                                 {"kv_heads", c.kv_heads},
                                 {"head_dim", c.head_dim},
                                 {"value_dim", c.value_dim},
                                 {"dp", c.dp},
                                 {"sp", c.sp},
                                 {"causal", c.causal},
                                 {"decay", to_string(c.decay)},
                                 {"fill", to_string(c.fill)},
                                 {"seed", c.seed},
                                 {"sample", c.sample},
                                 {"window", c.window},
                                 {"cu_seqlens", c.cu_seqlens},
                                 {"padding", c.padding},
                                 {"checks", to_string(c.checks)},
                                 {"expect", c.fault.empty() ? "pass" : "fail:" + c.fault}};
  if (c.decay.slope) json["decay"] = *c.decay.slope;
  return json;
}

namespace {

/// The text of a case file's cell.
std::string cell_text(const nlohmann::ordered_json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_float()) return to_string(DecaySpec{value.get<float>()});
  if (!value.is_array()) return value.dump();
  if (value.empty()) return "none";
  std::string text;
  for (const auto& bound : value) text += (text.empty() ? "" : "+") + bound.dump();
  return text;
}

}  // namespace

std::vector<CaseCell> cells_of(const nlohmann::ordered_json& json, std::string_view source) {
  if (!json.is_object()) throw UsageError(fmt::format("{}: a case is a JSON object", source));
  std::vector<CaseCell> cells;
  for (const auto& [column, value] : json.items()) {
    if (std::ranges::find(case_columns(), column, &CaseColumn::name) == case_columns().end() &&
        std::ranges::count(kFileColumns, column) == 0) {
      throw UsageError(fmt::format("{}: a case has no column {}", source, ringside::quoted(column)));
    }
    cells.push_back({column, cell_text(value)});
  }
  return cells;
}

std::vector<CaseCell> read_case_json(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / "case.json";
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return {};
  constexpr std::size_t kLongest = std::size_t{1} << 20;
  const auto json = nlohmann::ordered_json::parse(read_file(path, kLongest), nullptr, false);
  return cells_of(json, path.string());
}

}  // namespace ringside
