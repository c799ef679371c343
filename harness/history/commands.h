// The command history: runs kept in a database.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace ringside {

struct HistoryOptions {
  enum class Action { add, list, export_all };

  Action action = Action::add;
  std::string db;                             ///< file
  std::vector<std::string> results;           ///< add: results.jsonl, or directories with one
  std::string filter;                         ///< list: regex searched in case names; empty: all
  std::string figure = "forward_backward_s";  ///< list: whose series
  bool json = false;                          ///< export: instead of CSV
  std::optional<std::string> out;             ///< export: file; empty: standard output
};

/// Adds results to the database of runs, shows what it has and where series step, or writes it all out.
int history(const HistoryOptions& options);

}  // namespace ringside
