// A result's record: the figures that gate and history compare.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "harness/results/setting.h"

namespace ringside {

/// How two values of a figure compare.
enum class FigureKind {
  exact,  ///< the same on any machine, loaded or not: bytes, messages, memory
  share,  ///< of a bound: the same on a machine and build
  time,   ///< differs from run to run
};

/// A figure of a record: a column of results.csv by its name.
struct Figure {
  std::string name;
  FigureKind kind;
  bool more_is_worse = true;
};
/// All that a record has, in order.
const std::vector<Figure>& figures();

/// Place of a figure in figures(). Throws std::logic_error if there is none of that name.
std::size_t figure_index(std::string_view name);

/// One case of one run.
struct Record {
  std::string name{};    ///< of the case
  std::string status{};  ///< as in results
  std::string reason{};
  std::string commit{}, subject{}, started{};
  Setting setting{};
  bool oversubscribed = false;                   ///< its times mean little
  std::vector<std::optional<double>> figures{};  ///< by figures(); empty: not known

  std::optional<double> figure(std::string_view which) const { return figures[figure_index(which)]; }
};

/// A results.jsonl, checked: its rows as they stand there, and what is kept of them.
struct ResultsLog {
  std::filesystem::path path{};
  std::vector<std::string> lines{};  ///< a row's JSON each
  std::vector<Record> records{};     ///< likewise
  std::size_t torn =
      0;  ///< line that is left out as it lacks its end (a run was killed while writing it); 0: none
};

/// `path`: the file, or a directory with results.jsonl. Throws UsageError "file:line: message" for what is no
/// row, or has a schema that this program does not know (older ones it knows), "file: message" if no row is
/// left.
ResultsLog read_results(const std::filesystem::path& path);

/// "FILE:7: the last line is torn (…)": what a command says of a log with a torn line; empty if it has none.
std::string torn_note(const ResultsLog& log);

/// Wrong results: FAIL, MISTRUSTED, XPASS.
bool is_red(const Record& record);
/// Anything but a skip.
bool ran(const Record& record);
/// "FAIL: what is wrong".
std::string status_text(const Record& record);

}  // namespace ringside
