// Noise of timing, from a program timed against itself. The A/A history of cases on a machine.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ringside {

/// Log-ratios of a case's A/A rounds. `ranks`: how they ran, "threads" or "mpi 4"; other ranks, other noise.
struct CaseNoise {
  std::string name{};
  std::string ranks{};
  std::string device{};
  std::vector<double> log_ratios{};
};

/// One file for a fingerprint, noise.csv: case,ranks,device,commit,recorded,log_ratio. A line a round, the
/// oldest first.
inline constexpr std::string_view kNoiseHeader = "case,ranks,device,commit,recorded,log_ratio";

/// Of each case, in the order of the file; none if there is no such file. A last line without its end (a run
/// was killed while writing it) is left out. Throws UsageError "file:line: message" for anything else wrong.
std::vector<CaseNoise> read_noise(const std::filesystem::path& file);

/// Rounds of a case that count: a machine that was busy once is forgiven.
inline constexpr std::size_t kNewestNoise = 60;

/// The newest log-ratios of one case; none if there are none.
std::span<const double> find_noise(std::span<const CaseNoise> all, const CaseNoise& of);

/// Makes the file and its directory if they are missing. Throws UsageError if it cannot be written.
void require_noise(const std::filesystem::path& file);

/// Appends lines, and makes the file and its directory if they are missing. Throws UsageError if it cannot be
/// written, another process is writing it, or what is there is not its header.
void add_noise(const std::filesystem::path& file, const CaseNoise& noise, const std::string& commit,
               const std::string& now);

}  // namespace ringside
