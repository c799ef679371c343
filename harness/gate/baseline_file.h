// A baseline: what a machine made of the cases when somebody last said that it was good.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "harness/results/record.h"

namespace ringside {

/// A case as it was recorded. The record's `reason` is empty: a case that was skipped is in no baseline.
struct BaselineRow {
  Record record{};
  std::string recorded{};  ///< when, UTC: 2026-01-31T23:59:59Z
  std::string by{};        ///< login name
  std::string why{};       ///< the reason that was given
};

/// What is recorded once. The same case runs on several devices, communicators and worlds.
using BaselineKey = std::pair<Setting, std::string>;
inline BaselineKey baseline_key(const Record& r) { return {r.setting, r.name}; }

struct Baseline {
  std::vector<BaselineRow> rows{};
  std::vector<std::string> unknown_columns{};  ///< of the file: a newer program wrote them, or somebody else
};

/// Of a file's rows, each of which names its own: rows that are kept while others are recorded anew are
/// written in the present schema. It grows when a column changes its meaning or goes; a column more changes
/// nothing.
inline constexpr std::int64_t kBaselineSchema = 1;
inline constexpr std::size_t kMaxBaselineBytes = std::size_t{64} << 20;

/// A CSV file as in RFC 4180, whose first record names the columns, in any order: schema, recorded, by, why,
/// name, status, commit, subject, started, fingerprint, communicator, device, world, oversubscribed, and
/// every figure of figures(); an empty cell is a figure that is not known. A file of an older program, which
/// lacks figures or texts, is read. Throws UsageError "file:line: message" for anything else: a schema that
/// this program does not know, a status that is not pass or xfail, a case that is there twice, a last line
/// without its end.
Baseline parse_baseline(std::string_view text, std::string_view file_name);

/// parse_baseline() reads it back as it is. Ordered by baseline_key().
std::string baseline_text(std::span<const BaselineRow> rows);

}  // namespace ringside
