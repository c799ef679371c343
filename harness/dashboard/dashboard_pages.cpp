// dashboard_pages RESULTS PAGE: a page of results with a history and a gate's report that a browser is tested
// with.
#include <fmt/format.h>

#include <cstdio>
#include <exception>

#include "harness/dashboard/model.h"
#include "harness/dashboard/page.h"

namespace ringside {
namespace {

constexpr const char* kHostile =
    "</script><script>window.ran = 1</script><img src=x onerror=\"window.ran = 2\">";

Series series(const std::string& name, const std::string& figure, std::size_t step) {
  Series all = {.name = name, .figure = figure, .setting = {.fingerprint = "f1"}};
  for (std::size_t i = 0; i < 20; ++i) {
    const double level = step > 0 && i >= step ? 0.36 : 0.31;
    all.points.push_back({fmt::format("2026-01-{:02}T10:00:00Z", i + 1), fmt::format("{:012x}", 7919 * i),
                          i == step ? kHostile : fmt::format("Change {}", i),
                          level + 0.002 * static_cast<double>(i % 3)});
  }
  if (step > 0) all.changes = {{.at = step, .before = 0.312, .after = 0.362}};
  return all;
}

GateReport gate(const std::string& name) {
  GateReport report = {.base = "base", .head = kHostile, .fingerprint = "f1", .seed = 7, .cases = 5};
  report.exact = {{.name = name, .what = "peak_bytes", .base = "100", .head = "200", .red = true}};
  report.timed = {
      {.name = name, .verdict = TimeVerdict::same, .ratio = 1.002, .low = 0.99, .high = 1.01, .delta = 0.03},
      {.name = name,
       .verdict = TimeVerdict::slow,
       .ratio = 1.14,
       .low = 1.11,
       .high = 1.17,
       .delta = 0.03,
       .why = kHostile},
      {.name = name, .verdict = TimeVerdict::fast, .ratio = 0.9, .low = 0.88, .high = 0.92, .delta = 0.03},
      {.name = name,
       .verdict = TimeVerdict::ambiguous,
       .ratio = 1.05,
       .low = 0.97,
       .high = 1.12,
       .delta = 0.03},
      {.name = name,
       .verdict = TimeVerdict::contaminated,
       .ratio = 1.3,
       .low = 0.9,
       .high = 1.9,
       .delta = 0.03}};
  for (TimedFinding& f : report.timed) {
    f.base_s = 0.01;
    f.head_s = 0.01 * f.ratio;
  }
  report.history = {{.name = name,
                     .figure = "forward_s",
                     .before = 0.31,
                     .after = 0.36,
                     .since = "c",
                     .points = 20,
                     .slower = true}};
  report.notes = {kHostile};
  return report;
}

}  // namespace
}  // namespace ringside

int main(int argc, char** argv) {
  try {
    if (argc != 3) throw std::runtime_error("RESULTS PAGE");
    ringside::DashboardModel model;
    const std::string name = model.add_results(argv[1]).records.front().name;
    model.add_history(
        {ringside::series(name, "forward_backward_s", 12), ringside::series(name, "forward_s", 0)});
    model.add_gate(ringside::gate(name));
    ringside::write_page(argv[2], ringside::dashboard_page(model.json()));
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "dashboard_pages: {}\n", error.what());
    return 2;
  }
}
