// Rows of results.jsonl, read back and checked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "harness/results/schema.h"
#include "harness/results/setting.h"

namespace ringside {

/// One case of one run: what compares.
struct Record {
  std::int64_t schema = kResultsSchema;
  std::string name{};    ///< of the case
  std::string status{};  ///< as in results
  std::string reason{};
  std::string commit{}, subject{}, started{};
  Setting setting{};
  bool oversubscribed = false;                   ///< its times mean little
  std::vector<std::optional<double>> figures{};  ///< by figures(); empty: not known
  std::string digest{};                          ///< of the row's text

  std::optional<double> figure(std::string_view which) const { return figures[figure_index(which)]; }
};

/// visit(name, text) for each text of a record that files have, a column each.
template <typename AnyRecord, typename Visit>
void each_text(AnyRecord& r, const Visit& visit) {
  visit("name", r.name), visit("status", r.status), visit("reason", r.reason), visit("commit", r.commit);
  visit("subject", r.subject), visit("started", r.started), visit("fingerprint", r.setting.fingerprint);
  visit("communicator", r.setting.communicator), visit("device", r.setting.device);
}

/// A results.jsonl, checked, and what is kept of it.
struct ResultsLog {
  std::filesystem::path path{};
  std::vector<Record> records{};
  /// Facts of machines by fingerprint, a JSON object each; rows of schema 1 have none.
  std::map<std::string, std::string> machines{};
  std::size_t bytes = 0;  ///< of whole lines
  std::size_t torn = 0;   ///< line that is left out: it lacks its end, as a run was killed while writing it
};

/// Is given each row in the form of the present schema.
using TakeRow = std::function<void(const Record&, const nlohmann::ordered_json& row)>;

inline constexpr std::size_t kMaxResultsBytes = std::size_t{1} << 30;  ///< of a file that is read
inline constexpr std::size_t kMaxRowBytes = std::size_t{16} << 20;     ///< of a line; 4096 ranks take 3 MB
inline constexpr std::size_t kMaxRowDepth = 16;     ///< of arrays and objects in each other
inline constexpr std::size_t kMaxRowMembers = 200;  ///< of one object

/// `path` itself, or the results.jsonl of a directory.
std::filesystem::path results_file(const std::filesystem::path& path);

/// The rows of `text`, which may be none. Throws UsageError "file:line: message" for what is no row, or has a
/// schema that this program does not know (older ones it knows).
ResultsLog parse_results(std::string_view text, const std::filesystem::path& file, const TakeRow& take = {});
/// Of results_file(path); UsageError also if it holds no row.
ResultsLog read_results(const std::filesystem::path& path, const TakeRow& take = {});

/// "FILE:7: the last line is torn (…)": what a command says of a log with a torn line; empty if it has none.
std::string torn_note(const ResultsLog& log);

/// Wrong results: FAIL, MISTRUSTED, XPASS.
bool is_red(const Record& record);
/// Anything but a skip.
bool ran(const Record& record);
/// "FAIL: what is wrong".
std::string status_text(const Record& record);

}  // namespace ringside
