// The report as gate_json() wrote it, read back.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>

#include "harness/base/files.h"
#include "harness/base/json.h"
#include "harness/cases/case_file.h"
#include "harness/gate/report_parts.h"
#include "reference/error.h"

namespace ringside {
namespace {

constexpr std::size_t kMaxReportBytes = std::size_t{64} << 20;

void take(const Json& value, std::string& to) { to = value.get<std::string>(); }
void take(const Json& value, bool& to) { to = value.get<bool>(); }
void take(const Json& value, std::vector<std::string>& to) { to = value.get<std::vector<std::string>>(); }

template <typename Integer>
requires std::integral<Integer>
void take(const Json& value, Integer& to) {
  if (!value.is_number_integer()) throw UsageError("no whole number");
  to = value.get<Integer>();
}

void take(const Json& value, double& to) {
  constexpr std::array kNames = {"nan", "inf", "-inf"};
  constexpr std::array kValues = {double{NAN}, double{INFINITY}, -double{INFINITY}};
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (value == kNames[i]) return void(to = kValues[i]);
  }
  to = value.get<double>();
}

void take(const Json& value, TimeVerdict& to) {
  constexpr std::array kAll = {TimeVerdict::same, TimeVerdict::fast, TimeVerdict::slow,
                               TimeVerdict::ambiguous, TimeVerdict::contaminated};
  const auto of =
      std::ranges::find(kAll, value.get<std::string>(), [](TimeVerdict v) { return to_string(v); });
  if (of == kAll.end()) throw UsageError("no verdict");
  to = *of;
}

template <typename Finding>
void take(const Json& json, std::vector<Finding>& all);

/// Members by name; a mistake names the member.
class Members {
 public:
  explicit Members(const Json& json) : json_(json) {}

  template <typename T>
  const Members& operator()(const char* name, T& to) const {
    const auto at = json_.find(name);
    if (at == json_.end()) throw UsageError(fmt::format("{} is missing", name));
    try {
      take(*at, to);
    } catch (const UsageError& error) {
      throw UsageError(fmt::format("{}: {}", name, error.what()));
    } catch (const Json::exception&) {
      throw UsageError(fmt::format("{} is of the wrong type", name));
    }
    return *this;
  }

 private:
  const Json& json_;
};

template <typename Finding>
void take(const Json& json, std::vector<Finding>& all) {
  if (!json.is_array()) throw UsageError("no list");
  for (const Json& one : json) each_member(all.emplace_back(), Members{one});
}

}  // namespace

GateReport read_gate_report(const std::string& file) {
  const Json json = Json::parse(read_file(file, kMaxReportBytes), nullptr, false);
  if (!json.is_object() || !json.contains("timed"))
    throw UsageError(fmt::format("{}: no report of `ringside gate --json`", file));
  try {
    int schema = 0;
    GateReport r;
    Members{json}("schema", schema);
    if (schema < 1 || schema > kGateSchema)
      throw UsageError(fmt::format("a report of schema {}; this program knows 1 to {}", schema, kGateSchema));
    Members{json}("base", r.base)("head", r.head)("fingerprint", r.fingerprint)("seed", r.seed)(
        "cases", r.cases)("names", r.names)("exact", r.exact)("timed", r.timed)("history", r.history)(
        "notes", r.notes);
    if (json.contains("unfinished")) Members{json}("unfinished", r.unfinished);
    return r;
  } catch (const UsageError& error) {
    throw UsageError(fmt::format("{}: {}", file, error.what()));
  }
}

}  // namespace ringside
