#include "harness/cases/case_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "harness/base/files.h"
#include "harness/base/json.h"
#include "harness/base/text.h"

namespace ringside {

Json case_json(const Case& c) {
  Json json;
  for (const CaseColumn& column : case_columns()) {
    const std::string text = column.write(c);
    auto& value = json[std::string(column.name)];
    if (column.is_literal)
      value = Json::parse(text);
    else
      value = text;
  }
  if (c.decay.slope) json["decay"] = *c.decay.slope;
  return json;
}

namespace {

/// No control characters, as in a case file: below U+0020, U+007F, and from U+0080 to U+009F.
bool is_plain(std::string_view text) {
  unsigned before = 0;
  return std::ranges::none_of(text, [&](char c) {
    const unsigned byte = static_cast<unsigned char>(c), last = std::exchange(before, byte);
    return byte < 0x20 || byte == 0x7f || (last == 0xc2 && byte < 0xa0);
  });
}

/// The text of a case file's cell; nullopt for what cannot stand in one. (dump() of anything deeper would
/// recurse as deep as the file says.)
std::optional<std::string> cell_text(const Json& value) {
  if (value.is_string()) {
    auto text = value.get<std::string>();
    return is_plain(text) ? std::optional(std::move(text)) : std::nullopt;
  }
  if (value.is_number_float()) return to_string(DecaySpec{value.get<float>()});
  if (value.is_number() || value.is_boolean()) return value.dump();
  if (!value.is_array()) return std::nullopt;
  if (value.empty()) return "none";
  std::string text;
  for (const auto& bound : value) {
    if (!bound.is_number_integer()) return std::nullopt;
    text += (text.empty() ? "" : "+") + bound.dump();
  }
  return text;
}

}  // namespace

std::vector<CaseCell> cells_of(const Json& json, std::string_view source) {
  if (!json.is_object()) refuse_file(source, "expected a JSON object, a case's columns");
  std::vector<CaseCell> cells;
  for (const auto& [column, value] : json.items()) {
    if (std::ranges::find(case_columns(), column, &CaseColumn::name) == case_columns().end() &&
        std::ranges::count(kFileColumns, column) == 0) {
      refuse_file(source, fmt::format("a case has no column {}", in_quotes(column)));
    }
    std::optional<std::string> text = cell_text(value);
    if (!text) {
      refuse_file(
          source,
          fmt::format("column {}: expected a number, true, false, plain text or whole numbers", column));
    }
    cells.push_back({column, *std::move(text), std::string(source)});
  }
  return cells;
}

std::vector<CaseCell> read_case_json(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / "case.json";
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return {};
  const InputFile file(path);
  constexpr std::size_t kLongest = std::size_t{1} << 20;
  if (file.size() > kLongest) refuse_file(file.name(), fmt::format("larger than {} bytes", kLongest));
  return cells_of(Json::parse(file.start(kLongest), nullptr, false), file.name());
}

}  // namespace ringside
