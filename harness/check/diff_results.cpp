#include "harness/check/diff_results.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "harness/base/json.h"
#include "harness/results/record.h"
#include "harness/tensors/outputs.h"
#include "reference/error.h"

namespace ringside {
namespace {

struct Row {
  Json tensors;
  bool red;
};
using Rows = std::map<std::string, Row>;  // by name, of which the n-th row is "name (n)"

Rows read_rows(const std::filesystem::path& path) {
  Rows rows;
  std::map<std::string, int> seen;
  const ResultsLog log = read_results(path, [&](const Record& record, const Json& json) {
    const int n = ++seen[record.name];
    rows.insert_or_assign(n == 1 ? record.name : fmt::format("{} ({})", record.name, n),
                          Row{json.value("tensors", Json::object()), is_red(record)});
  });
  if (log.torn > 0) fmt::print(stderr, "ringside: {}\n", torn_note(log));
  return rows;
}

/// A figure that may be written as "nan" or "inf", or be missing.
double number(const Json& row, const std::string& pointer) {
  const Json::json_pointer at(pointer);
  if (!row.contains(at)) return 0;
  const Json& value = row.at(at);
  return value.is_number() ? value.get<double>() : INFINITY;
}

std::string text(const Json& row, const std::string& pointer) {
  const Json::json_pointer at(pointer);
  return row.contains(at) && row.at(at).is_string() ? row.at(at).get<std::string>() : "";
}

struct Line {
  std::string name, tensor;
  double share_a = 0, share_b = 0, error_a = 0, error_b = 0;
  bool beyond = false;
  double worst() const { return std::max(share_a, share_b); }
};

}  // namespace

std::optional<std::pair<std::filesystem::path, std::filesystem::path>> results_files(
    const DiffOptions& options) {
  const auto find = [](const std::filesystem::path& path) -> std::optional<std::filesystem::path> {
    if (!std::filesystem::is_directory(path)) return path;
    if (std::filesystem::exists(path / "results.jsonl")) return path / "results.jsonl";
    return std::nullopt;
  };
  const auto a = find(options.a), b = find(options.b);
  if (a && b) return std::pair(*a, *b);
  if (a || b) {
    throw UsageError(
        fmt::format("{} has results, {} has none", a ? options.a : options.b, a ? options.b : options.a));
  }
  return std::nullopt;
}

int diff_results(const std::filesystem::path& of_a, const std::filesystem::path& of_b, int worst) {
  const Rows a = read_rows(of_a), b = read_rows(of_b);
  std::vector<Line> lines;
  int common = 0, compared = 0;
  bool beyond = false;
  for (const auto& [name, row_a] : a) {
    const auto other = b.find(name);
    if (other == b.end()) continue;
    ++common;
    const auto& [row, red_a] = row_a;
    const auto& [row_b, red_b] = other->second;
    const bool any_red = red_a || red_b;
    if (red_a != red_b) beyond = true;
    for (const std::string_view out : kOutNames) {
      const std::string at = fmt::format("/{}/", out);
      const std::string digest = text(row, at + "digest");
      if (digest.empty() && text(row_b, at + "digest").empty()) continue;  // skipped in both
      ++compared;
      if (digest == text(row_b, at + "digest")) continue;
      beyond = beyond || any_red;
      lines.push_back({name, std::string(out), number(row, at + "bound_share"),
                       number(row_b, at + "bound_share"), number(row, at + "relative_error"),
                       number(row_b, at + "relative_error"), any_red});
    }
  }
  if (common == 0)
    throw UsageError(fmt::format("{} and {} have no case in common", of_a.string(), of_b.string()));
  std::ranges::stable_sort(lines, [](const Line& x, const Line& y) {
    return std::pair(x.beyond, x.worst()) > std::pair(y.beyond, y.worst());
  });
  if (!lines.empty()) fmt::print("{:>6} {:>17} {:>23}  case\n", "tensor", "bound a / b", "rel. error a / b");
  for (const Line& line : std::span(lines).first(std::min(lines.size(), static_cast<std::size_t>(worst)))) {
    fmt::print("{:>6} {:>8.3f} {:>8.3f} {:>11.3e} {:>11.3e}  {}{}\n", line.tensor, line.share_a, line.share_b,
               line.error_a, line.error_b, line.name, line.beyond ? "  <- FAIL in one of them" : "");
  }
  fmt::print("{} cases in both, {} only in {}, {} only in {}; {} of {} tensors have the same bits\n", common,
             a.size() - static_cast<std::size_t>(common), of_a.string(),
             b.size() - static_cast<std::size_t>(common), of_b.string(),
             static_cast<std::size_t>(compared) - lines.size(), compared);
  return beyond ? 1 : 0;
}

}  // namespace ringside
