#include "harness/gate/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <set>
#include <utility>

#include "harness/base/text.h"
#include "harness/gate/report_parts.h"

namespace ringside {
namespace {

/// Whether enough rounds counted for a ratio to stand for anything.
bool timed(const TimedFinding& f) { return f.base_s > 0; }

/// Rows of cells; all columns but the last one, which is left to its own width, as wide as their widest cell.
class Columns {
 public:
  void row(std::vector<std::string> cells) {
    widths_.resize(std::max(widths_.size(), cells.size()));
    for (std::size_t i = 0; i < cells.size(); ++i) widths_[i] = std::max(widths_[i], cells[i].size());
    rows_.push_back(std::move(cells));
  }

  std::string text() const {
    std::string out;
    for (const auto& cells : rows_) {
      out += ' ';
      for (std::size_t i = 0; i + 1 < cells.size(); ++i) out += fmt::format(" {:<{}} ", cells[i], widths_[i]);
      out += fmt::format(" {}\n", cells.back());
    }
    return out;
  }

 private:
  std::vector<std::vector<std::string>> rows_;
  std::vector<std::size_t> widths_;
};

/// A status and what it is about: "FAIL", "dq: 3 elements beyond their bound".
std::pair<std::string, std::string> cut(const std::string& status) {
  const std::size_t colon = status.find(": ");
  if (colon == status.npos) return {status, ""};
  return {status.substr(0, colon), status.substr(colon + 2)};
}

std::string exact_table(const std::vector<ExactFinding>& findings) {
  Columns table;
  table.row({"exact", "figure", "base", "head", "case"});
  for (const ExactFinding& f : findings) {
    const auto [head, detail] = cut(plain_text(f.head));
    table.row({std::string(word(f)), plain_text(f.what), plain_text(f.base), head,
               plain_text(f.name) + (detail.empty() ? "" : ": " + detail)});
  }
  return table.text();
}

std::string timed_table(const std::vector<TimedFinding>& findings) {
  Columns table;
  table.row({"times in pairs", "ratio", "rounds", "base -> head", "case"});
  for (const TimedFinding& f : findings) {
    const bool fine = f.verdict == TimeVerdict::same || f.verdict == TimeVerdict::fast;
    table.row({std::string(to_string(f.verdict)), ratio_text(f), rounds_text(f), arms_text(f),
               plain_text(f.name) + (fine ? "" : ": " + decided_text(f))});
  }
  return table.text();
}

std::string history_table(const std::vector<HistoryFinding>& findings) {
  Columns table;
  table.row({"history", "figure", "last step", "case"});
  for (const HistoryFinding& f : findings) {
    table.row({f.slower ? "slower" : "quicker", plain_text(f.figure), segments_text(f), plain_text(f.name)});
  }
  return table.text();
}

template <typename Finding, typename Rank>
std::vector<Finding> sorted(std::vector<Finding> findings, Rank rank) {
  std::ranges::stable_sort(findings, std::ranges::greater{}, rank);
  return findings;
}

/// NaN last.
double order(double x) { return std::isnan(x) ? -INFINITY : x; }

}  // namespace

std::string_view to_string(TimeVerdict verdict) {
  constexpr std::array<std::string_view, 5> kNames = {"SAME", "FAST", "SLOW", "AMBIGUOUS", "CONTAMINATED"};
  return kNames.at(static_cast<std::size_t>(verdict));
}

std::vector<ExactFinding> worst_first(std::vector<ExactFinding> findings) {
  return sorted(std::move(findings),
                [](const ExactFinding& f) { return std::pair(f.red, f.red && f.what == "status"); });
}

std::vector<TimedFinding> worst_first(std::vector<TimedFinding> findings) {
  return sorted(std::move(findings), [](const TimedFinding& f) {
    constexpr std::array kBadness = {0, 1, 4, 3, 2};  // of SAME, FAST, SLOW, AMBIGUOUS, CONTAMINATED
    return std::pair(kBadness.at(static_cast<std::size_t>(f.verdict)), order(f.ratio));
  });
}

std::vector<HistoryFinding> worst_first(std::vector<HistoryFinding> findings) {
  return sorted(std::move(findings),
                [](const HistoryFinding& f) { return std::pair(f.slower, order(f.after / f.before)); });
}

int count(const GateReport& report, TimeVerdict verdict) {
  return static_cast<int>(std::ranges::count(report.timed, verdict, &TimedFinding::verdict));
}

int count_red(const GateReport& report) {
  return static_cast<int>(std::ranges::count(report.exact, true, &ExactFinding::red));
}

std::string_view word(const ExactFinding& finding) {
  return finding.red ? "RED" : finding.what == "status" ? "told" : "better";
}

std::string seconds_text(double seconds) {
  if (!std::isfinite(seconds)) return fmt::format("{} s", seconds);
  constexpr std::array<std::pair<double, const char*>, 3> kUnits = {{{1, "s"}, {1e-3, "ms"}, {1e-6, "us"}}};
  const auto* const unit =
      std::ranges::find_if(kUnits, [&](const auto& u) { return std::abs(seconds) >= u.first; });
  const auto& [size, name] = unit == kUnits.end() ? kUnits.back() : *unit;
  return fmt::format("{:.4g} {}", seconds / size, name);
}

std::string ratio_text(const TimedFinding& f) {
  return timed(f) ? fmt::format("{:.3f} [{:.3f}, {:.3f}]", f.ratio, f.low, f.high) : "-";
}

std::string rounds_text(const TimedFinding& f) {
  return f.contaminated == 0 ? fmt::format("{}", f.rounds)
                             : fmt::format("{} of {}", f.rounds, f.rounds + f.contaminated);
}

std::string arms_text(const TimedFinding& f) {
  return timed(f) ? fmt::format("{} -> {}", seconds_text(f.base_s), seconds_text(f.head_s)) : "-";
}

std::string decided_text(const TimedFinding& f) {
  return fmt::format("p {:.2g}, delta {:.1f}%{}", f.p, 100 * f.delta,
                     f.why.empty() ? "" : "; " + plain_text(f.why));
}

std::string segments_text(const HistoryFinding& f) {
  return fmt::format("{} -> {} since {}, {} points", seconds_text(f.before), seconds_text(f.after),
                     plain_text(f.since), f.points);
}

std::string circumstances(const GateReport& report) {
  std::string text;
  if (!report.fingerprint.empty()) text = "machine " + plain_text(report.fingerprint);
  if (report.seed != 0) text += fmt::format("{}seed {}", text.empty() ? "" : ", ", report.seed);
  return text;
}

int exit_status(const GateReport& report, bool strict) {
  if (!report.unfinished.empty()) return 5;
  if (count_red(report) > 0) return 1;
  if (count(report, TimeVerdict::slow) > 0) return 3;
  const int open = count(report, TimeVerdict::ambiguous) + count(report, TimeVerdict::contaminated);
  return strict && open > 0 ? 4 : 0;
}

std::string verdict_line(const GateReport& report) {
  if (!report.unfinished.empty())
    return fmt::format("INCOMPLETE (exit status 5): {}", plain_text(report.unfinished));
  const auto cases = fmt::format("{} case{}", report.cases, report.cases == 1 ? "" : "s");
  if (count_red(report) > 0) {
    std::set<std::string> names;
    for (const ExactFinding& f : report.exact) {
      if (f.red) names.insert(f.name);
    }
    return fmt::format("RED (exit status 1): {} case{} wrong, missing or worse than the base; {} compared",
                       names.size(), names.size() == 1 ? "" : "s", cases);
  }
  const int slow = count(report, TimeVerdict::slow);
  if (slow > 0) return fmt::format("SLOW (exit status 3): {} of {}", slow, cases);
  const int open = count(report, TimeVerdict::ambiguous) + count(report, TimeVerdict::contaminated);
  if (open > 0) {
    return fmt::format("OPEN (exit status 0, 4 with --strict): the times of {} of {} are inconclusive", open,
                       cases);
  }
  return fmt::format("OK (exit status 0): nothing is worse in {}", cases);
}

std::string gate_table(const GateReport& report) {
  std::string text = fmt::format("base  {}\nhead  {}\n", plain_text(report.base), plain_text(report.head));
  if (const std::string more = circumstances(report); !more.empty()) text += fmt::format("      {}\n", more);
  if (!report.exact.empty()) text += '\n' + exact_table(worst_first(report.exact));
  if (!report.timed.empty()) text += '\n' + timed_table(worst_first(report.timed));
  if (!report.history.empty()) text += '\n' + history_table(worst_first(report.history));
  if (!report.notes.empty()) text += '\n';
  for (const std::string& note : report.notes) text += fmt::format("note: {}\n", plain_text(note));
  return text + '\n' + verdict_line(report) + '\n';
}

}  // namespace ringside
