// Two results.jsonl side by side.
#pragma once

#include <filesystem>
#include <optional>
#include <utility>

#include "harness/check/commands.h"

namespace ringside {

/// The two results files that are meant, if any is: a file, or a directory that holds results.jsonl. Throws
/// UsageError if only one of the two is one.
std::optional<std::pair<std::filesystem::path, std::filesystem::path>> results_files(
    const DiffOptions& options);

/// Prints where the cases that both have differ, by their digests, the `worst` worst first. 1 if, in a case
/// where they do, one of the two is red; else 0. Throws UsageError: no case in common, what is no row.
int diff_results(const std::filesystem::path& a, const std::filesystem::path& b, int worst);

}  // namespace ringside
