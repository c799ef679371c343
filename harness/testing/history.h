// Results for tests of the history, as a sweep writes them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "harness/base/json.h"
#include "harness/results/record.h"
#include "harness/testing/process.h"

namespace ringside {

struct HistoryRow {
  std::string name = "ring", status = "pass", commit = "c0", subject = "A subject";
  std::string started = "2026-01-01T00:00:00Z", fingerprint = "f";
  std::string communicator = "threads", device = "cpu";
  std::int64_t world = 0;
  double seconds = 0.01;
  bool oversubscribed = false;
};

inline std::string line_of(const HistoryRow& row) {
  const Json json = {{"schema", 2},
                     {"name", row.name},
                     {"status", row.status},
                     {"reason", row.status == "pass" ? "" : "because"},
                     {"case", {{"seq", 5}}},
                     {"commit", row.commit},
                     {"subject", row.subject},
                     {"started", row.started},
                     {"fingerprint", row.fingerprint},
                     {"machine", {{"cpu", "of " + row.fingerprint}}},
                     {"communicator", row.communicator},
                     {"device", row.device},
                     {"world", row.world},
                     {"tensors", {{"o", {{"bound_share", "inf"}, {"row_share", "nan"}}}}},
                     {"sums", {{"forward", {{"bytes", 0}}}, {"peak_bytes", 4096}}},
                     {"perf",
                      {{"forward", {{"median_s", row.seconds / 3}}},
                       {"forward_backward", {{"median_s", row.seconds}}},
                       {"oversubscribed", row.oversubscribed}}}};
  return json.dump() + "\n";
}

inline std::string lines_of(const std::vector<HistoryRow>& rows) {
  std::string text;
  for (const HistoryRow& row : rows) text += line_of(row);
  return text;
}

/// The n-th day's run, of one case.
inline HistoryRow on_day(int day, double seconds) {
  const std::string two = (day < 10 ? "0" : "") + std::to_string(day);
  return {.commit = "c" + std::to_string(day),
          .subject = "Day " + std::to_string(day),
          .started = "2026-01-" + two + "T00:00:00Z",
          .seconds = seconds};
}

}  // namespace ringside
