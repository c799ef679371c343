#include "harness/history/history.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <regex>
#include <set>
#include <tuple>

#include "harness/base/fingerprint.h"
#include "harness/base/json.h"
#include "harness/history/change_points.h"
#include "reference/error.h"

namespace ringside {
namespace {

// A value of NULL is NaN. `fields`: JSON object of a results row; NULL: rows did not tell (schema 1).
// `digest`: of the row's text.
constexpr const char* kSchema = R"(
CREATE TABLE machine (id INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL UNIQUE, fields TEXT);
CREATE TABLE run (
  id INTEGER PRIMARY KEY,
  machine INTEGER NOT NULL REFERENCES machine,
  started TEXT NOT NULL,
  "commit" TEXT NOT NULL,
  subject TEXT NOT NULL,
  communicator TEXT NOT NULL,
  device TEXT NOT NULL,
  world INTEGER NOT NULL,
  UNIQUE (machine, started, "commit", communicator, device, world));
CREATE TABLE test_case (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE result (
  id INTEGER PRIMARY KEY,
  run INTEGER NOT NULL REFERENCES run,
  test_case INTEGER NOT NULL REFERENCES test_case,
  nth INTEGER NOT NULL,
  status TEXT NOT NULL,
  reason TEXT NOT NULL,
  oversubscribed INTEGER NOT NULL,
  digest TEXT NOT NULL,
  UNIQUE (run, test_case, nth));
CREATE TABLE figure (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE value (
  result INTEGER NOT NULL REFERENCES result,
  figure INTEGER NOT NULL REFERENCES figure,
  value REAL,
  PRIMARY KEY (result, figure)) WITHOUT ROWID;
)";

constexpr Database::Kind kHistory = {.application_id = 0x52676864,  // "Rghd"
                                     .version = 1,
                                     .name = "a history of ringside",
                                     .schema = kSchema};

/// The id of a name in a table of names, which get an id when they are new.
class Names {
 public:
  Names(Database& db, const std::string& table, const std::string& column)
      : insert_(db, fmt::format("INSERT INTO {0} ({1}) VALUES (?1) ON CONFLICT DO NOTHING", table, column)),
        select_(db, fmt::format("SELECT id FROM {0} WHERE {1} = ?1", table, column)) {}

  std::int64_t operator[](const std::string& name) {
    const auto [at, fresh] = known_.try_emplace(name, 0);
    if (fresh) {
      insert_.with(name).run();
      select_.with(name).next();
      at->second = select_.integer(0);
      select_.with();  // leaves no cursor open
    }
    return at->second;
  }

 private:
  Statement insert_, select_;
  std::map<std::string, std::int64_t> known_;
};

/// Of four columns, in the order of its members.
Setting setting_from(const Statement& rows, int first) {
  return {rows.text(first), rows.text(first + 1), rows.text(first + 2), rows.integer(first + 3)};
}

const Field& figure_of(const std::string& name) {
  const auto at = std::ranges::find(figures(), name, &Field::name);
  if (at != figures().end()) return *at;
  std::string all;
  for (const Field& figure : figures()) all += (all.empty() ? "" : ", ") + figure.name;
  throw UsageError(fmt::format("'{}' is not a figure; there are {}", name, all));
}

std::regex compiled(const std::string& filter) {
  try {
    return std::regex(filter);
  } catch (const std::regex_error& error) {
    throw UsageError(fmt::format("'{}' is not a regular expression: {}", filter, error.what()));
  }
}

}  // namespace

void find_changes(Series& series) {
  const std::size_t skip = series.points.size() - std::min(series.points.size(), kMostPoints);
  std::vector<double> logs;
  for (std::size_t i = skip; i < series.points.size(); ++i) logs.push_back(std::log(series.points[i].value));
  const std::vector<Segment> found = segments(logs);
  series.changes.clear();
  for (std::size_t k = 1; k < found.size(); ++k) {
    series.changes.push_back({.at = skip + found[k].begin,
                              .before = std::exp(found[k - 1].mean),
                              .after = std::exp(found[k].mean)});
  }
}

History::History(const std::filesystem::path& file, Database::Access access) : db_(file, access, kHistory) {}

std::int64_t History::number(const char* sql) {
  Statement statement(db_, sql);
  statement.next();
  return statement.integer(0);
}

/// Of a run that is there from now on, with its machine.
std::int64_t History::id_of_run(const Record& record, const ResultsLog& log) {
  const Setting& at = record.setting;
  const std::int64_t of_machine = Names(db_, "machine", "fingerprint")[at.fingerprint];
  if (const auto facts = log.machines.find(at.fingerprint); facts != log.machines.end()) {
    Statement(db_, "UPDATE machine SET fields = ?2 WHERE id = ?1 AND fields IS NULL")
        .with(of_machine, facts->second)
        .run();
  }
  Statement(db_,
            "INSERT INTO run (machine, started, \"commit\", subject, communicator, device, world) "
            "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING")
      .with(of_machine, record.started, record.commit, record.subject, at.communicator, at.device, at.world)
      .run();
  Statement find(db_,
                 "SELECT id FROM run WHERE machine = ?1 AND started = ?2 AND \"commit\" = ?3 "
                 "AND communicator = ?4 AND device = ?5 AND world = ?6");
  find.with(of_machine, record.started, record.commit, at.communicator, at.device, at.world).next();
  return find.integer(0);
}

Added History::add(const ResultsLog& log) {
  Transaction transaction(db_, Transaction::For::writing);
  Names cases(db_, "test_case", "name"), names(db_, "figure", "name");
  std::vector<std::int64_t> figure_ids;
  for (const Field& figure : figures()) figure_ids.push_back(names[figure.name]);
  Statement insert(db_,
                   "INSERT INTO result (run, test_case, nth, status, reason, oversubscribed, digest) "
                   "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING");
  Statement digest(db_, "SELECT digest FROM result WHERE run = ?1 AND test_case = ?2 AND nth = ?3");
  Statement value(db_, "INSERT INTO value (result, figure, value) VALUES (?1, ?2, ?3)");

  std::map<std::tuple<Setting, std::string, std::string>, std::int64_t> run_ids;
  std::map<std::pair<std::int64_t, std::int64_t>, std::int64_t> seen;  // run, case: rows so far
  std::set<std::int64_t> touched;
  Added added;
  for (const Record& r : log.records) {
    const auto [at, fresh] = run_ids.try_emplace({r.setting, r.started, r.commit}, 0);
    if (fresh) at->second = id_of_run(r, log);
    const std::int64_t run = at->second, of_case = cases[r.name], nth = ++seen[{run, of_case}];
    insert.with(run, of_case, nth, r.status, r.reason, std::int64_t{r.oversubscribed}, r.digest).run();
    if (db_.changed() == 0) {
      digest.with(run, of_case, nth).next();
      ++(digest.text(0) == r.digest ? added.already : added.differing);
      continue;
    }
    ++added.rows;
    touched.insert(run);
    const std::int64_t row = db_.last_id();
    for (std::size_t f = 0; f < figure_ids.size(); ++f) {
      if (const auto& figure = r.figures.at(f)) value.with(row, figure_ids[f], *figure).run();
    }
  }
  added.runs = std::ssize(touched);
  added.all_rows = number("SELECT count(*) FROM result");
  added.all_runs = number("SELECT count(*) FROM run");
  digest.with();
  transaction.commit();
  return added;
}

std::vector<HistoryRun> History::runs() {
  Statement rows(
      db_,
      "SELECT run.id, \"commit\", subject, started, fingerprint, device, communicator, world, status, "
      "count(*) FROM run JOIN machine ON machine.id = machine JOIN result ON run = run.id "
      "GROUP BY run.id, status ORDER BY started, run.id");
  std::vector<HistoryRun> runs;
  std::int64_t last = 0;
  while (rows.next()) {
    if (runs.empty() || rows.integer(0) != last) {
      runs.push_back({.commit = rows.text(1),
                      .subject = rows.text(2),
                      .started = rows.text(3),
                      .setting = setting_from(rows, 4)});
      last = rows.integer(0);
    }
    runs.back().rows += rows.integer(9);
    if (is_red(Record{.status = rows.text(8)})) runs.back().red += rows.integer(9);
  }
  return runs;
}

std::vector<Series> History::series(const SeriesQuery& query) {
  const bool is_time = figure_of(query.figure).kind == FieldKind::time;
  const std::regex filter = compiled(query.filter);
  Statement rows(
      db_,
      "SELECT name, fingerprint, device, communicator, world, started, \"commit\", subject, value.value "
      "FROM value JOIN result ON result.id = result JOIN test_case ON test_case.id = test_case "
      "JOIN run ON run.id = run JOIN machine ON machine.id = machine "
      "WHERE value.figure = (SELECT id FROM figure WHERE name = ?1) AND nth = 1 AND status = 'pass' "
      "AND NOT (oversubscribed AND ?2) AND (fingerprint = ?3 OR NOT ?4) AND value.value > 0 "
      "ORDER BY name, fingerprint, device, communicator, world, started, run.id");
  rows.with(query.figure, std::int64_t{is_time}, query.fingerprint.value_or(""),
            std::int64_t{query.fingerprint.has_value()});
  std::vector<Series> all;
  while (rows.next()) {
    const double value = rows.real(8);
    if (!std::isfinite(value)) continue;
    Series key = {.name = rows.text(0), .figure = query.figure, .setting = setting_from(rows, 1)};
    const auto order = [](const Series& s) { return std::tie(s.name, s.setting); };
    if (all.empty() || order(all.back()) != order(key)) all.push_back(std::move(key));
    all.back().points.push_back(
        {.started = rows.text(5), .commit = rows.text(6), .subject = rows.text(7), .value = value});
  }
  // std::regex recurses by character, and a name may be anything
  constexpr std::size_t kSearched = 4096;
  std::erase_if(all,
                [&](const Series& s) { return !std::regex_search(s.name.substr(0, kSearched), filter); });
  for (Series& series : all) find_changes(series);
  return all;
}

std::vector<std::string> History::figure_names() {
  Statement rows(db_, "SELECT name FROM figure ORDER BY id");
  std::vector<std::string> names;
  while (rows.next()) names.push_back(rows.text(0));
  return names;
}

void History::each_row(const std::function<void(const Row&)>& take) {
  const Transaction all_of_one_moment(db_, Transaction::For::reading);
  std::map<std::int64_t, std::size_t> place;  // of a figure, by id
  Statement ids(db_, "SELECT id FROM figure ORDER BY id");
  while (ids.next()) place.emplace(ids.integer(0), place.size());
  Statement rows(db_,
                 "SELECT result.id, name, status, reason, \"commit\", subject, started, fingerprint, device, "
                 "communicator, world, oversubscribed, nth, fields FROM result JOIN run ON run.id = run "
                 "JOIN machine ON machine.id = machine JOIN test_case ON test_case.id = test_case "
                 "ORDER BY started, run.id, result.id");
  Statement values(db_, "SELECT figure, value FROM value WHERE result = ?1");
  while (rows.next()) {
    Row row = {.record = {.name = rows.text(1),
                          .status = rows.text(2),
                          .reason = rows.text(3),
                          .commit = rows.text(4),
                          .subject = rows.text(5),
                          .started = rows.text(6),
                          .setting = setting_from(rows, 7),
                          .oversubscribed = rows.integer(11) != 0},
               .nth = rows.integer(12)};
    if (!rows.is_null(13)) row.machine = rows.text(13);
    row.record.figures.resize(place.size());
    values.with(rows.integer(0));
    while (values.next()) row.record.figures[place.at(values.integer(0))] = values.real(1);
    take(row);
  }
}

}  // namespace ringside
