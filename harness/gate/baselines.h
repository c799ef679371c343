// The folder of baselines: FOLDER/<fingerprint>/baseline.csv, and machine.json, which says what the
// fingerprint stands for.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "harness/gate/baseline_file.h"

namespace ringside {

struct StoredBaseline {
  std::filesystem::path path{};  ///< of the file
  Baseline baseline{};
};

/// `path`: a file, a folder with baseline.csv, or a folder with such folders. Throws UsageError if there is
/// none, or for what parse_baseline() does.
std::vector<StoredBaseline> read_baselines(const std::filesystem::path& path);

/// What became of the rows of a file.
struct Recorded {
  std::filesystem::path path{};
  std::size_t replaced = 0, dropped = 0, kept = 0;
};

/// Puts `rows`, all of one fingerprint, in place of those of equal baseline_key() in `folder`; other rows
/// stay, or with `prune` those alone that have another device, communicator or world than every one of
/// `rows`. `machine`: machine.json, written if it is not there and this is not empty. The file is replaced in
/// one step, while no other process does this: who reads it finds the old one or the new one, whatever
/// happens. Throws UsageError if the fingerprint cannot name a folder, nothing can be written, or the file
/// that is there is not understood; InfrastructureError if a disk is full.
Recorded store_baseline(const std::filesystem::path& folder, const std::vector<BaselineRow>& rows,
                        const std::string& machine, bool prune);

}  // namespace ringside
