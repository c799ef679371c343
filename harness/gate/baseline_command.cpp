// ringside baseline record, ringside baseline show.
#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "harness/base/fingerprint.h"
#include "harness/base/json.h"
#include "harness/base/text.h"
#include "harness/gate/baselines.h"
#include "harness/gate/commands.h"
#include "reference/error.h"

namespace ringside {
namespace {

std::string login_name() {
  const passwd* user = ::getpwuid(::geteuid());
  return user == nullptr ? std::to_string(::geteuid()) : user->pw_name;
}

void check_reason(const std::string& reason) {
  if (reason.find_first_not_of(' ') == reason.npos) throw UsageError("--reason: it must say something");
  if (plain_text(reason) != reason)
    throw UsageError(fmt::format("--reason: a line of plain text, not '{}'", plain_text(reason)));
}

/// The facts of the machine of the results; empty if they do not tell.
std::string machine_json(const ResultsLog& log) {
  const std::string& fingerprint = log.records.at(0).setting.fingerprint;
  const auto facts = log.machines.find(fingerprint);
  if (facts == log.machines.end()) return "";
  return Json{{"fingerprint", fingerprint}, {"fields", Json::parse(facts->second)}}.dump(2);
}

struct Candidates {
  std::vector<BaselineRow> rows;
  std::size_t skipped = 0;
};

/// The rows of `log` that ran. Throws UsageError for what no baseline can be made of.
Candidates candidates(const ResultsLog& log, const BaselineRow& common) {
  Candidates found;
  std::map<BaselineKey, std::size_t> line_of;
  for (std::size_t i = 0; i < log.records.size(); ++i) {
    const Record& record = log.records[i];
    const auto fail = [&](const std::string& why) {
      throw UsageError(fmt::format("{}:{}: {}", log.path.string(), i + 1, why));
    };
    if (record.setting.fingerprint != log.records[0].setting.fingerprint) {
      fail(fmt::format("of machine {}, the first row of {}: a baseline is of one machine",
                       plain_text(record.setting.fingerprint),
                       plain_text(log.records[0].setting.fingerprint)));
    }
    if (is_red(record)) {
      fail(fmt::format("{} of {}: wrong results are no baseline", plain_text(record.status),
                       plain_text(record.name)));
    }
    const auto [same, is_new] = line_of.emplace(baseline_key(record), i + 1);
    if (!is_new) fail(fmt::format("{} is already in line {}", plain_text(record.name), same->second));
    if (record.status == "skip") {
      ++found.skipped;
      continue;
    }
    if (record.status != "pass" && record.status != "xfail")
      fail(fmt::format("unknown status '{}'", plain_text(record.status)));
    BaselineRow& row = found.rows.emplace_back(common);
    row.record = record;
    row.record.reason.clear();
  }
  if (found.rows.empty()) throw UsageError(fmt::format("{}: all cases were skipped", log.path.string()));
  return found;
}

std::string figure_text(const Record& record, std::string_view figure, const char* unit) {
  const auto value = record.figure(figure);
  return value ? fmt::format("{:.6g} {}", *value, unit) : "-";
}

void show(const StoredBaseline& stored) {
  const auto& rows = stored.baseline.rows;
  fmt::print("{}: {} case{}\n", stored.path.string(), rows.size(), rows.size() == 1 ? "" : "s");
  using Group = std::tuple<std::string, std::string, std::string, std::string, std::string>;
  std::map<Group, std::vector<const BaselineRow*>> groups;  // by when, by whom, why, of which commit
  for (const BaselineRow& row : rows) {
    groups[{row.recorded, row.by, row.why, row.record.commit, row.record.subject}].push_back(&row);
  }
  for (const auto& [group, members] : groups) {
    const auto& [recorded, by, why, commit, subject] = group;
    fmt::print("\nrecorded {} by {}: {}\n  commit {} {}\n", plain_text(recorded), plain_text(by),
               plain_text(why), plain_text(commit), plain_text(subject));
    fmt::print("  {:>20} {:>22}  status  case\n", "peak memory", "throughput");
    for (const BaselineRow* row : members) {
      const Record& r = row->record;
      fmt::print("  {:>20} {:>22}  {:<6}  {}, {} on {}{}\n", figure_text(r, "peak_bytes", "bytes"),
                 figure_text(r, "tokens_per_s", "tokens/s"), r.status, plain_text(r.name),
                 plain_text(r.setting.communicator), plain_text(r.setting.device),
                 r.setting.world > 0 ? fmt::format(", world {}", r.setting.world) : "");
    }
  }
}

}  // namespace

int baseline_record(const BaselineRecordOptions& options) {
  check_reason(options.reason);
  const ResultsLog log = read_results(options.results);
  if (log.torn > 0) fmt::print(stderr, "ringside: {}\n", torn_note(log));
  const Candidates found =
      candidates(log, {.recorded = utc_now(), .by = login_name(), .why = options.reason});
  const Recorded done = store_baseline(options.dir, found.rows, machine_json(log), options.prune);
  fmt::print("{}: {} cases recorded, {} of them in place of earlier ones; {} others stay, {} dropped\n",
             done.path.string(), found.rows.size(), done.replaced, done.kept, done.dropped);
  if (found.skipped > 0) fmt::print("{} cases were skipped: they are not recorded\n", found.skipped);
  const std::string& commit = found.rows[0].record.commit;
  if (commit.ends_with("-dirty") || commit == "unknown")
    fmt::print("note: commit {}: what was measured is in no commit\n", plain_text(commit));
  return 0;
}

int baseline_show(const BaselineShowOptions& options) {
  bool first = true;
  for (const StoredBaseline& stored : read_baselines(options.path)) {
    if (!std::exchange(first, false)) fmt::print("\n");
    show(stored);
  }
  return 0;
}

}  // namespace ringside
