#include "harness/gate/noise.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <fstream>
#include <iterator>

#include "harness/base/line_file.h"
#include "reference/error.h"

namespace ringside {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kFields = 6;
constexpr std::uintmax_t kMaxBytes = 64U << 20;

[[noreturn]] void refuse(const fs::path& file, std::size_t line, std::string_view what) {
  throw UsageError(fmt::format("{}:{}: {}", file.string(), line, what));
}

/// The whole lines of the file, and with them all of it but a torn end.
std::string whole_lines(const fs::path& file) {
  std::error_code error;
  const std::uintmax_t size = fs::file_size(file, error);
  if (error) throw UsageError(fmt::format("{}: cannot be read: {}", file.string(), error.message()));
  if (size > kMaxBytes) throw UsageError(fmt::format("{}: {} bytes, too large", file.string(), size));
  std::ifstream in(file, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(in), {}};
  if (in.bad()) throw UsageError(fmt::format("{}: cannot be read", file.string()));
  text.resize(text.rfind('\n') + 1);  // npos + 1 is 0
  return text;
}

void require_header(const fs::path& file, std::string_view text) {
  if (text.substr(0, text.find('\n')) != kNoiseHeader) {
    refuse(file, 1, fmt::format("not the header of a file of noise, {}", kNoiseHeader));
  }
}

std::array<std::string_view, kFields> fields_of(std::string_view line, const fs::path& file,
                                                std::size_t number) {
  std::array<std::string_view, kFields> fields;
  for (std::size_t i = 0; i < kFields; ++i) {
    const std::size_t comma = line.find(',');
    if ((comma == line.npos) != (i + 1 == kFields)) {
      refuse(file, number, fmt::format("not {} fields: {}", kFields, kNoiseHeader));
    }
    fields[i] = line.substr(0, comma);
    line.remove_prefix(comma == line.npos ? line.size() : comma + 1);
  }
  return fields;
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
  std::string_view rest = text;
  for (std::size_t number = 1; !rest.empty(); ++number) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(line.size() + 1);
    if (number == 1) continue;
    const auto fields = fields_of(line, file, number);
    const std::string_view last = fields.back();
    double log_ratio = 0;
    const auto [stop, error] = std::from_chars(last.data(), last.data() + last.size(), log_ratio);
    if (error != std::errc{} || stop != last.data() + last.size() || !std::isfinite(log_ratio)) {
      refuse(file, number, fmt::format("'{}' is not a log-ratio", last));
    }
    CaseNoise key = {
        .name = std::string(fields[0]), .ranks = std::string(fields[1]), .device = std::string(fields[2])};
    auto at = std::ranges::find_if(all, [&](const CaseNoise& known) { return same_case(known, key); });
    if (at == all.end()) at = all.insert(all.end(), std::move(key));
    at->log_ratios.push_back(log_ratio);
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
  std::error_code error;
  if (file.has_parent_path()) fs::create_directories(file.parent_path(), error);
  if (error) {
    throw UsageError(fmt::format("{}: cannot be made: {}", file.parent_path().string(), error.message()));
  }
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
    lines +=
        fmt::format("{},{},{},{},{},{}\n", noise.name, noise.ranks, noise.device, commit, now, log_ratio);
  }
  lines.pop_back();  // append() ends the line
  out.append(lines);
}

}  // namespace ringside
