// `ringside history`: add, list, export.
#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <functional>
#include <memory>
#include <set>

#include "harness/base/csv.h"
#include "harness/base/json.h"
#include "harness/base/line_file.h"
#include "harness/base/text.h"
#include "harness/history/commands.h"
#include "harness/history/history.h"
#include "reference/error.h"

namespace ringside {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t kShown = 72;  // bytes of a text of others

std::string counted(std::int64_t n, std::string_view what) {
  return fmt::format("{} {}{}", n, what, n == 1 ? "" : "s");
}

// --- add

int add(const HistoryOptions& options) {
  std::vector<ResultsLog> logs;  // all, before the database is touched
  for (const std::string& path : options.results) {
    logs.push_back(read_results(path));
    if (const std::string note = torn_note(logs.back()); !note.empty())
      fmt::print(stderr, "ringside: {}\n", note);
  }
  History history(options.db, Database::Access::write);
  for (const ResultsLog& log : logs) {
    const Added added = history.add(log);
    std::string line = added.rows == 0
                           ? fmt::format("nothing of {} added to {}", log.path.string(), options.db)
                           : fmt::format("{} of {} added to {}", counted(added.rows, "row"),
                                         counted(added.runs, "run"), options.db);
    if (added.already > 0) line += fmt::format(", {} there already", counted(added.already, "row"));
    if (added.differing > 0)
      line += fmt::format(", {} left out: other text than that of their run and case there",
                          counted(added.differing, "row"));
    fmt::print("{} ({}, {})\n", line, counted(added.all_runs, "run"), counted(added.all_rows, "row"));
    std::fflush(stdout);  // what is said is on the disk, whatever becomes of the next
  }
  return 0;
}

// --- list

std::string value_text(const Field& figure, double value) {
  if (figure.unit != "s") return fmt::format("{:.4g}", value);
  return value < 1e-3  ? fmt::format("{:.3g} µs", 1e6 * value)
         : value < 1.0 ? fmt::format("{:.3g} ms", 1e3 * value)
                       : fmt::format("{:.3g} s", value);
}

void print_runs(const std::vector<HistoryRun>& runs) {
  fmt::print("{:<20}  {:<18}  {:<12}  {:<16}  {:>5}  {:>4}  subject\n", "started", "commit", "machine",
             "ranks", "rows", "red");
  for (const HistoryRun& run : runs) {
    const Setting& at = run.setting;
    const std::string where =
        fmt::format("{} {}{}", at.device, at.communicator, at.world == 0 ? "" : fmt::format(" {}", at.world));
    fmt::print("{:<20}  {:<18}  {:<12}  {:<16}  {:>5}  {:>4}  {}\n",
               run.started.empty() ? "(not told)" : plain_text(run.started, kShown),
               plain_text(run.commit, kShown), plain_text(at.fingerprint, kShown), plain_text(where, kShown),
               run.rows, run.red, plain_text(run.subject, kShown));
  }
}

void print_series(const std::vector<Series>& all, const Field& figure) {
  std::set<Setting> settings;
  for (const Series& s : all) settings.insert(s.setting);
  std::size_t stepped = 0;
  for (const Series& s : all) {
    stepped += !s.changes.empty();
    for (const ChangePoint& change : s.changes) {
      const SeriesPoint& first = s.points[change.at];
      const std::string where =
          settings.size() < 2 ? ""
                              : fmt::format(" [{} {} {} {}]", plain_text(s.setting.fingerprint, kShown),
                                            plain_text(s.setting.device, kShown),
                                            plain_text(s.setting.communicator, kShown), s.setting.world);
      fmt::print("{}{}: {} → {} ({:+.3g}%) since {}{}, {}\n", plain_text(s.name, 400), where,
                 value_text(figure, change.before), value_text(figure, change.after),
                 100 * (change.after / change.before - 1), plain_text(first.commit, kShown),
                 first.subject.empty() ? "" : fmt::format(" ({})", plain_text(first.subject, kShown)),
                 counted(std::ssize(s.points), "point"));
    }
  }
  fmt::print("{} series of {}, {} with change points\n", all.size(), figure.name, stepped);
}

int list(const HistoryOptions& options) {
  History history(options.db, Database::Access::read);
  const std::vector<Series> series = history.series({.figure = options.figure, .filter = options.filter});
  print_runs(history.runs());
  fmt::print("\n");
  print_series(series, figures()[figure_index(options.figure)]);
  return 0;
}

// --- export

/// What a row has beside its figures and its machine's fields.
Json fields_of(const History::Row& row) {
  Json fields;
  each_text(row.record, [&](std::string_view name, const std::string& text) { fields[name] = text; });
  fields["world"] = row.record.setting.world;
  fields["nth"] = row.nth;
  fields["oversubscribed"] = row.record.oversubscribed;
  return fields;
}

std::string number(double value) {  // as results write those that JSON lacks
  return std::isnan(value) ? "nan" : fmt::format("{}", value);
}

using Lines = std::function<void(std::string)>;

void write_csv(History& history, const Lines& line) {
  std::string header;
  const Json names = fields_of({});
  for (const auto& [name, value] : names.items()) header += name + ",";
  for (const std::string& name : history.figure_names()) header += csv_cell(name) + ",";
  line(header + "machine");
  history.each_row([&](const History::Row& row) {
    std::string cells;
    for (const Json& cell : fields_of(row))
      cells += (cell.is_string() ? csv_cell(cell.get<std::string>()) : cell.dump()) + ",";
    for (const auto& figure : row.record.figures) cells += (figure ? number(*figure) : "") + ",";
    line(cells + csv_cell(row.machine.value_or("")));
  });
}

/// An array, a row a line.
void write_json(History& history, const Lines& line) {
  const std::vector<std::string> names = history.figure_names();
  std::string before = "[";
  history.each_row([&](const History::Row& row) {
    Json json = fields_of(row);
    for (std::size_t f = 0; f < names.size(); ++f) {
      if (const auto& figure = row.record.figures[f])
        json["figures"][names[f]] = std::isfinite(*figure) ? Json(*figure) : Json(number(*figure));
    }
    if (row.machine) json["machine"] = Json::parse(*row.machine);
    line(before + json.dump());
    before = ",";
  });
  line(before == "[" ? "[]" : "]");
}

int export_all(const HistoryOptions& options) {
  History history(options.db, Database::Access::read);
  const auto write = [&](const Lines& line) { (options.json ? write_json : write_csv)(history, line); };
  if (!options.out) {
    write([](const std::string& text) { fmt::print("{}\n", text); });
    return 0;
  }
  std::error_code ignored;
  const fs::path out = fs::weakly_canonical(*options.out);
  if (fs::equivalent(out, options.db, ignored)) throw UsageError(*options.out + ": is the database itself");
  if (fs::exists(out, ignored) && !fs::is_regular_file(out, ignored)) {  // a device or a pipe
    LineFile file(out.string());
    write([&](std::string text) { file.append(std::move(text)); });
    return 0;
  }
  replace_file(out.string(),
               [&](LineFile& file) { write([&](std::string text) { file.append(std::move(text)); }); });
  return 0;
}

}  // namespace

int history(const HistoryOptions& options) {
  switch (options.action) {
    case HistoryOptions::Action::add:
      return add(options);
    case HistoryOptions::Action::list:
      return list(options);
    case HistoryOptions::Action::export_all:
      return export_all(options);
  }
  throw std::logic_error("history: no such action");
}

}  // namespace ringside
