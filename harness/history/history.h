// Database of results over time, and the series in it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "harness/history/database.h"
#include "harness/results/record.h"

namespace ringside {

/// A new figure makes a time slower by more than this, or it is noise.
inline constexpr double kHistoryDelta = 0.03;
/// Of a longer series the newest points are looked at.
inline constexpr std::size_t kMostPoints = 1000;

/// What add() did.
struct Added {
  std::int64_t rows = 0, runs = 0;  ///< new rows, and of how many runs
  std::int64_t already = 0;         ///< rows that were there
  std::int64_t differing = 0;  ///< rows of a run and case that are there, but with another text: left out
  std::int64_t all_rows = 0, all_runs = 0;  ///< then in the file
};

struct HistoryRun {
  std::string commit{}, subject{}, started{};
  Setting setting{};
  std::int64_t rows = 0, red = 0;
};

struct SeriesPoint {
  std::string started{}, commit{}, subject{};
  double value = 0;  ///< in the figure's unit
};

/// A step of a series.
struct ChangePoint {
  std::size_t at = 0;            ///< first point of the new segment
  double before = 0, after = 0;  ///< geometric means of the segments on both sides
};

/// A figure of a case in runs that compare, in the order in which the runs began.
struct Series {
  std::string name{};  ///< of the case
  std::string figure{};
  Setting setting{};
  std::vector<SeriesPoint> points{};
  std::vector<ChangePoint> changes{};  ///< first to last
};

/// Which series.
struct SeriesQuery {
  std::string figure = "forward_backward_s";  ///< one of figures()
  std::string filter{};                       ///< ECMAScript regex searched in case names; empty: all
  std::optional<std::string> fingerprint{};   ///< empty: all
};

/// The changes of series.points: segments() of the logarithms, so that a step is a ratio.
void find_changes(Series& series);

/// The database. A run is what has one setting, commit and start; a row is one of its cases (the n-th of that
/// name, should a table have a case twice). A sweep that goes on with --resume starts another run, to which
/// the rows belong that it adds: none is there twice.
///
/// Figures have a table of their own, (row, figure, value), and not a column each: a new figure is a new
/// name, old files need no migration, and a figure that a row lacks takes no space.
class History {
 public:
  History(const std::filesystem::path& file, Database::Access access);

  /// All rows of a log, or none of them, in one transaction; on the disk when it returns.
  Added add(const ResultsLog& log);

  /// In the order in which they began.
  std::vector<HistoryRun> runs();

  /// Rows that passed and have the figure above 0; if it is a time, without oversubscribed ones; of a case
  /// that a run has twice the first. By case, then by machine. Throws UsageError for a figure or regex that
  /// is none.
  std::vector<Series> series(const SeriesQuery& query);

  /// A row of the file.
  struct Row {
    Record record{};                       ///< figures: by figure_names()
    std::int64_t nth = 1;                  ///< of its name in its run
    std::optional<std::string> machine{};  ///< its JSON object, as results had it
  };
  /// All that the file has, some of which this program may not know.
  std::vector<std::string> figure_names();
  /// Calls `take` for each row, runs in order.
  void each_row(const std::function<void(const Row&)>& take);

 private:
  std::int64_t id_of_run(const Record& record, const ResultsLog& log);
  std::int64_t number(const char* sql);

  Database db_;
};

}  // namespace ringside
