#include "harness/gate/noise.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "harness/base/csv.h"
#include "harness/base/files.h"
#include "harness/base/line_file.h"
#include "harness/base/text.h"
#include "reference/error.h"

namespace ringside {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kFields = 6;
constexpr std::size_t kMaxBytes = 64U << 20;

[[noreturn]] void refuse(const fs::path& file, std::size_t line, std::string_view what) {
  throw UsageError(fmt::format("{}:{}: {}", file.string(), line, what));
}

/// The whole lines of the file, and with them all of it but a torn end.
std::string whole_lines(const fs::path& file) {
  std::string text = read_file(file, kMaxBytes);
  text.resize(text.rfind('\n') + 1);  // npos + 1 is 0
  return text;
}

void require_header(const fs::path& file, std::string_view text) {
  if (text.substr(0, text.find('\n')) != kNoiseHeader) {
    refuse(file, 1, fmt::format("not the header of a file of noise, {}", kNoiseHeader));
  }
}

/// The cells of a line and its end.
CsvRecord fields_of(std::string_view line, CsvReader& reader, const fs::path& file, std::size_t number) {
  try {
    std::vector<CsvRecord> records = reader.feed(line);
    if (records.size() == 1 && records[0].size() == kFields) return std::move(records[0]);
  } catch (const CsvError& error) {
    refuse(file, number, error.what());
  }
  refuse(file, number, fmt::format("not {} fields: {}", kFields, kNoiseHeader));
}

bool same_case(const CaseNoise& a, const CaseNoise& b) {
  return a.name == b.name && a.ranks == b.ranks && a.device == b.device;
}

}  // namespace

std::vector<CaseNoise> read_noise(const fs::path& file) {
  if (!fs::exists(file)) return {};
  const std::string text = whole_lines(file);
  std::vector<CaseNoise> all;
  if (text.empty()) return all;
  require_header(file, text);
  CsvReader reader(kFields);
  std::string_view rest = text;
  for (std::size_t number = 1; !rest.empty(); ++number) {
    const std::string_view line = rest.substr(0, rest.find('\n') + 1);
    rest.remove_prefix(line.size());
    if (number == 1) continue;
    const CsvRecord fields = fields_of(line, reader, file, number);
    const std::string& last = fields.back().text;
    const auto log_ratio = number_in<double>(last);
    if (!log_ratio || !std::isfinite(*log_ratio))
      refuse(file, number, fmt::format("'{}' is not a log-ratio", last));
    CaseNoise key = {.name = fields[0].text, .ranks = fields[1].text, .device = fields[2].text};
    auto at = std::ranges::find_if(all, [&](const CaseNoise& known) { return same_case(known, key); });
    if (at == all.end()) at = all.insert(all.end(), std::move(key));
    at->log_ratios.push_back(*log_ratio);
  }
  return all;
}

std::span<const double> find_noise(std::span<const CaseNoise> all, const CaseNoise& of) {
  const auto at = std::ranges::find_if(all, [&](const CaseNoise& known) { return same_case(known, of); });
  if (at == all.end()) return {};
  const std::span<const double> rounds = at->log_ratios;
  return rounds.last(std::min(rounds.size(), kNewestNoise));
}

void require_noise(const fs::path& file) {
  if (file.has_parent_path()) make_directory(file.parent_path());
  LineFile probe(file.string());
}

void add_noise(const fs::path& file, const CaseNoise& noise, const std::string& commit,
               const std::string& now) {
  require_noise(file);
  LineFile out(file.string());
  const std::string there = whole_lines(file);
  if (!there.empty()) require_header(file, there);
  out.cut(there.size());
  std::string lines = there.empty() ? std::string(kNoiseHeader) + "\n" : "";
  for (const double log_ratio : noise.log_ratios) {
    lines += fmt::format("{},{},{},{},{},{}\n", csv_cell(noise.name), csv_cell(noise.ranks),
                         csv_cell(noise.device), csv_cell(commit), now, log_ratio);
  }
  lines.pop_back();  // append() ends the line
  out.append(lines);
}

}  // namespace ringside
