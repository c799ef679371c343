// Rows of results as a sweep writes them, for tests.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "harness/base/json.h"

namespace ringside {

struct TestRow {
  std::string name = "ring-a";
  std::string status = "pass";
  std::string reason{};
  std::string commit = "c0ffee";
  std::string subject = "Faster rings";
  std::string fingerprint = "0123456789ab";
  std::string communicator = "threads";
  std::string device = "cpu";
  int world = 0;
  std::optional<int> forward_bytes = 1024;
  std::optional<int> peak_bytes = 4096;
  double share = 0.25;         ///< of o
  double tokens_per_s = 1000;  ///< of forward and backward
  bool oversubscribed = false;
  int schema = 3;
};

inline std::string row_line(const TestRow& r) {
  Json row = {{"schema", r.schema},
              {"name", r.name},
              {"status", r.status},
              {"reason", r.reason},
              {"case", {{"seq", 64}}},
              {"commit", r.commit},
              {"subject", r.subject},
              {"started", "2026-01-02T03:04:05Z"},
              {"fingerprint", r.fingerprint},
              {"machine", {{"cpu", "Model \"T\""}, {"kernel", "Linux"}}},
              {"communicator", r.communicator},
              {"device", r.device},
              {"world", r.world}};
  if (r.status != "skip") {
    row["tensors"]["o"] = {{"bound_share", r.share}};
    const double seconds = 64 / r.tokens_per_s;
    row["perf"] = {
        {"forward_backward", {{"median_s", seconds}, {"min_s", 0.9 * seconds}, {"max_s", 1.25 * seconds}}},
        {"tokens_per_s", r.tokens_per_s},
        {"oversubscribed", r.oversubscribed}};
    if (r.forward_bytes) row["sums"]["forward"] = {{"bytes", *r.forward_bytes}};
    if (r.peak_bytes) row["sums"]["peak_bytes"] = *r.peak_bytes;
  }
  return row.dump() + "\n";
}

inline std::string row_lines(const std::vector<TestRow>& rows) {
  std::string text;
  for (const TestRow& row : rows) text += row_line(row);
  return text;
}

}  // namespace ringside
