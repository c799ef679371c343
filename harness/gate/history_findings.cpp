#include "harness/gate/history_findings.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <utility>

namespace ringside {
namespace {

/// Whether a series has the time: History::series() has the same rule.
bool counts(const Record& record, std::optional<double> time) {
  return record.status == "pass" && !record.oversubscribed && time && std::isfinite(*time) && *time > 0;
}

/// The series up to the record's run, that included. Rows of schema 1 do not say when they began: they count
/// as the newest.
void end_with(Series& series, const Record& record, double time) {
  std::vector<SeriesPoint>& points = series.points;
  if (!record.started.empty())
    std::erase_if(points, [&](const SeriesPoint& p) { return p.started > record.started; });
  const bool there = std::ranges::any_of(
      points, [&](const SeriesPoint& p) { return p.started == record.started && p.commit == record.commit; });
  if (!there)
    points.push_back(
        {.started = record.started, .commit = record.commit, .subject = record.subject, .value = time});
}

}  // namespace

HistoryFinding finding_of(const Series& series) {
  const std::vector<ChangePoint>& changes = series.changes;
  const auto slows = [&](std::size_t first) {
    return changes.back().after > (1 + kHistoryDelta) * changes[first].before;
  };
  std::size_t first = changes.size() - 1, rise = changes.size();
  while (rise > 0 && changes[rise - 1].after > changes[rise - 1].before) --rise;
  if (!slows(first) && rise < first && slows(rise)) first = rise;
  return {.name = series.name,
          .figure = series.figure,
          .before = changes[first].before,
          .after = changes.back().after,
          .since = series.points[changes[first].at].commit,
          .points = static_cast<int>(series.points.size()),
          .slower = slows(first)};
}

std::vector<HistoryFinding> history_findings(History& history, const std::vector<Record>& records) {
  std::vector<HistoryFinding> findings;
  for (const char* figure : {"forward_s", "forward_backward_s"}) {
    std::set<std::string> machines;  // whose series are at hand
    std::map<std::pair<Setting, std::string>, Series> all;
    for (const Record& record : records) {
      const std::optional<double> time = record.figure(figure);
      if (!counts(record, time)) continue;
      const std::string& machine = record.setting.fingerprint;
      if (machines.insert(machine).second) {
        for (const Series& s : history.series({.figure = figure, .fingerprint = machine}))
          all.emplace(std::pair(s.setting, s.name), s);
      }
      const auto stored = all.find({record.setting, record.name});
      if (stored == all.end()) continue;  // a first point: nothing to compare with
      Series series = stored->second;
      end_with(series, record, *time);
      find_changes(series);
      if (!series.changes.empty()) findings.push_back(finding_of(series));
    }
  }
  return findings;
}

}  // namespace ringside
