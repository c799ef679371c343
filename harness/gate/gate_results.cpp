#include "harness/gate/gate_results.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <tuple>
#include <utility>

#include "harness/gate/single_run.h"
#include "reference/error.h"

namespace ringside {
namespace {

std::string place_text(const Setting& at) {
  return fmt::format("{}, {}{}", at.device, at.communicator,
                     at.world > 0 ? fmt::format(", world {}", at.world) : "");
}

/// Figures of messages and held memory, for which every variant states a formula of the problem alone.
bool has_formula(const std::string& figure) {
  return std::ranges::find(fields(), figure + "_formula", &Field::name) != fields().end();
}

class Comparison {
 public:
  Comparison(const ResultsLog& results, const std::vector<StoredBaseline>& baselines, bool allow_missing,
             const std::function<bool(const std::string&)>& wanted)
      : allow_missing_(allow_missing) {
    for (const Record& record : results.records) {
      if (wanted(record.name)) head_.push_back(&record);
    }
    for (const StoredBaseline& stored : baselines) {
      for (const BaselineRow& row : stored.baseline.rows) {
        if (wanted(row.record.name)) base_[row.record.name].push_back(&row);
      }
    }
  }

  GateReport report() {
    if (head_.empty()) throw UsageError("--filter: found in no case of the results");
    if (std::ranges::none_of(head_, [](const Record* head) { return ran(*head); }))
      throw UsageError(fmt::format("no case ran: all {} were skipped", head_.size()));
    for (const Record* head : head_) compare(*head);
    missing();
    notes();
    return std::move(report_);
  }
  /// Rows that results were compared with.
  const std::vector<const BaselineRow*>& used() const { return used_; }

 private:
  void add(const std::string& name, std::string_view what, std::string base, std::string head, bool red) {
    report_.exact.push_back({.name = name,
                             .what = std::string(what),
                             .base = std::move(base),
                             .head = std::move(head),
                             .red = red});
  }

  const BaselineRow* nearest(const Record& head) const {
    const auto rows = base_.find(head.name);
    if (rows == base_.end()) return nullptr;
    const auto nearness = [&](const BaselineRow* row) {
      const Setting &was = row->record.setting, &is = head.setting;
      return std::tuple(was.device == is.device, was.communicator == is.communicator, was.world == is.world,
                        was.fingerprint == is.fingerprint, row->recorded);
    };
    return *std::ranges::max_element(rows->second, {}, nearness);
  }

  void compare(const Record& head) {
    const BaselineRow* row = nearest(head);
    if (row == nullptr) {
      fresh_.push_back(head.name);
      if (is_red(head)) add(head.name, "status", "none", status_text(head), true);
      return;
    }
    used_.push_back(row);
    const Record& base = row->record;
    ++report_.cases;
    report_.names.push_back(head.name);
    if (is_red(head) || (base.status == "pass" && head.status == "xfail")) {
      add(head.name, "status", base.status, status_text(head), true);
    } else if (ran(head) && base.status != head.status) {
      add(head.name, "status", base.status, status_text(head), false);
    }
    if (!ran(head)) return;  // missing() decides
    const bool alike =
        base.setting.device == head.setting.device && base.setting.communicator == head.setting.communicator;
    for (std::size_t i = 0; i < figures().size(); ++i) {
      const Field& figure = figures()[i];
      if (figure.kind != FieldKind::exact || (!alike && !has_formula(figure.name))) continue;
      compare_figure(head, figure, base.figures[i], head.figures[i]);
    }
    singles_.add(base, head);
  }

  void compare_figure(const Record& head, const Field& figure, std::optional<double> before,
                      std::optional<double> now) {
    if (!before && now) ++without_base_[figure.name];
    if (auto finding = figure_finding(head.name, figure, before, now))
      report_.exact.push_back(std::move(*finding));
  }

  /// Cases of the baseline that ran then, and not now.
  void missing() {
    std::map<Setting, std::vector<const Record*>> places;  // of the results
    for (const Record* head : head_) places[head->setting.anywhere()].push_back(head);
    for (const auto& [at, rows] : places) {
      std::set<std::string_view> machines, there;
      std::map<std::string_view, const Record*> skipped;
      for (const Record* head : rows) {
        machines.insert(head->setting.fingerprint);
        if (ran(*head))
          there.insert(head->name);
        else
          skipped.emplace(head->name, head);
      }
      std::map<std::string_view, const Record*> own, others;  // of the baseline, by name
      for (const auto& [name, candidates] : base_) {
        for (const BaselineRow* row : candidates) {
          const Setting& was = row->record.setting;
          if (was.anywhere() == at) (machines.contains(was.fingerprint) ? own : others)[name] = &row->record;
        }
      }
      const auto& expected = own.empty() ? others : own;
      if (expected.empty()) {
        report_.notes.push_back(
            fmt::format("the baseline has nothing of {}: no case of it can be missed", place_text(at)));
      }
      for (const auto& [name, base] : expected) {
        if (there.contains(name)) continue;
        const auto skip = skipped.find(name);
        add(base->name, "status", base->status, skip == skipped.end() ? "absent" : status_text(*skip->second),
            !allow_missing_);
      }
    }
  }

  void notes() {
    if (!fresh_.empty()) {
      report_.notes.push_back(fmt::format("{} case{} without a baseline, the first of them {}", fresh_.size(),
                                          fresh_.size() == 1 ? "" : "s", fresh_.front()));
    }
    for (const auto& [figure, cases] : without_base_) {
      report_.notes.push_back(fmt::format("{}: the baseline does not have it in {} case{}", figure, cases,
                                          cases == 1 ? "" : "s"));
    }
    singles_.add_notes(report_.notes);
    const auto better = std::ranges::count(report_.exact, false, &ExactFinding::red);
    if (better > 0) {
      report_.notes.push_back(
          fmt::format("{} finding{} better or allowed: record a new baseline with a reason to keep {}",
                      better, better == 1 ? " is" : "s are", better == 1 ? "it" : "them"));
    }
  }

  bool allow_missing_;
  std::vector<const Record*> head_;
  std::map<std::string_view, std::vector<const BaselineRow*>> base_;
  std::vector<const BaselineRow*> used_;
  std::vector<std::string> fresh_;
  std::map<std::string, int> without_base_;  // by figure
  SingleRun singles_;
  GateReport report_;
};

std::string commit_text(const Record& r) {
  return r.subject.empty() ? r.commit : fmt::format("{} {}", r.commit, r.subject);
}

std::string base_text(const std::vector<const BaselineRow*>& used,
                      const std::vector<StoredBaseline>& baselines) {
  std::set<std::string> commits;
  const BaselineRow* last = used.front();
  for (const BaselineRow* row : used) {
    commits.insert(row->record.commit);
    if (row->recorded > last->recorded) last = row;
  }
  const std::string where = baselines.size() == 1 ? baselines[0].path.string()
                                                  : baselines[0].path.parent_path().parent_path().string();
  return fmt::format("{}{} ({}, recorded {}: {})", commit_text(last->record),
                     commits.size() > 1 ? fmt::format(" and {} other commits", commits.size() - 1) : "",
                     where, last->recorded, last->why);
}

}  // namespace

std::optional<ExactFinding> figure_finding(const std::string& name, const Field& figure,
                                           std::optional<double> before, std::optional<double> now) {
  if (!before || before == now) return std::nullopt;
  const bool better = now && (figure.more_is_worse ? *now < *before : *now > *before);
  return ExactFinding{.name = name,
                      .what = figure.name,
                      .base = fmt::format("{}", *before),
                      .head = now ? fmt::format("{}", *now) : "none",
                      .red = !better};
}

GateReport compare_exact(const ResultsLog& results, const std::vector<StoredBaseline>& baselines,
                         bool allow_missing, const std::function<bool(const std::string&)>& wanted) {
  Comparison comparison(results, baselines, allow_missing, wanted);
  GateReport report = comparison.report();
  const std::string path = baselines.at(0).path.string();
  if (comparison.used().empty()) {
    throw UsageError(
        fmt::format("{} has no case of {}; `ringside baseline record {} --reason TEXT` records one", path,
                    results.path.string(), results.path.string()));
  }
  report.base = base_text(comparison.used(), baselines);
  report.head = fmt::format("{} ({})", commit_text(results.records[0]), results.path.string());
  report.fingerprint = results.records[0].setting.fingerprint;
  if (results.torn > 0) report.notes.push_back(torn_note(results));
  return report;
}

}  // namespace ringside
