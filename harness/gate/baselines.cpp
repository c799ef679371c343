#include "harness/gate/baselines.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>
#include <string_view>
#include <system_error>
#include <tuple>
#include <utility>

#include "harness/base/files.h"
#include "harness/base/line_file.h"
#include "harness/base/text.h"
#include "harness/cases/case_file.h"
#include "reference/error.h"

namespace ringside {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFile = "baseline.csv";
constexpr const char* kMachine = "machine.json";

/// One process at a time works in a folder: others wait until this object goes. Nothing stays behind.
class FolderLock {
 public:
  explicit FolderLock(const fs::path& folder)
      : fd_(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    if (fd_ < 0)
      throw UsageError(fmt::format("{}: cannot be opened: {}", folder.string(), std::strerror(errno)));
    while (::flock(fd_, LOCK_EX) != 0 && errno == EINTR) {
    }  // file systems without locks have other errors
  }
  ~FolderLock() { ::close(fd_); }
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int fd_;
};

/// Puts a file with `text` (which ends a line) in place of `path`.
void replace(const fs::path& path, std::string text) {
  text.pop_back();  // append() ends the line
  replace_file(path.string(), [&](LineFile& file) { file.append(std::move(text)); });
}

StoredBaseline read(const fs::path& path) {
  return {.path = path, .baseline = parse_baseline(read_file(path, kMaxBaselineBytes), path.string())};
}

fs::path made(const fs::path& folder, const std::string& fingerprint) {
  const bool plain = std::ranges::all_of(fingerprint, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  });
  if (!plain || fingerprint.empty() || fingerprint.size() > 64)
    throw UsageError(fmt::format("fingerprint '{}' cannot name a folder", plain_text(fingerprint)));
  const fs::path own = folder / fingerprint;
  make_directory(own);
  return own;
}

}  // namespace

std::vector<StoredBaseline> read_baselines(const fs::path& path) {
  const auto missing = [&](const char* what) {
    throw UsageError(
        fmt::format("{}: {}; `ringside baseline record RESULTS --reason TEXT --dir {}` records one",
                    path.string(), what, path.string()));
  };
  std::error_code error;
  if (!fs::exists(path, error)) missing("no such baseline");
  if (!fs::is_directory(path, error)) return {read(path)};
  if (fs::exists(path / kFile, error)) return {read(path / kFile)};
  std::vector<fs::path> files;
  for (fs::directory_iterator entry(path, error), end; !error && entry != end; entry.increment(error)) {
    if (fs::exists(entry->path() / kFile, error)) files.push_back(entry->path() / kFile);
    error.clear();
  }
  if (error) throw UsageError(fmt::format("{}: cannot be read: {}", path.string(), error.message()));
  if (files.empty()) missing("no baseline in it");
  std::ranges::sort(files);
  std::vector<StoredBaseline> all;
  for (const fs::path& file : files) all.push_back(read(file));
  return all;
}

Recorded store_baseline(const fs::path& folder, const std::vector<BaselineRow>& rows,
                        const std::string& machine, bool prune) {
  const fs::path own = made(folder, rows.at(0).record.setting.fingerprint);
  const FolderLock lock(own);
  Recorded recorded{.path = own / kFile};
  std::vector<BaselineRow> all = rows;
  if (fs::exists(recorded.path)) {
    const Baseline old = read(recorded.path).baseline;
    if (!old.unknown_columns.empty()) {
      throw UsageError(fmt::format("{}: column '{}', which this program does not know, would be lost",
                                   recorded.path.string(), plain_text(old.unknown_columns[0])));
    }
    std::set<BaselineKey> keys;
    std::set<Setting> places;
    for (const BaselineRow& row : rows) {
      keys.insert(baseline_key(row.record));
      places.insert(row.record.setting.anywhere());
    }
    for (const BaselineRow& row : old.rows) {
      if (keys.contains(baseline_key(row.record))) {
        ++recorded.replaced;
      } else if (prune && places.contains(row.record.setting.anywhere())) {
        ++recorded.dropped;
      } else {
        ++recorded.kept;
        all.push_back(row);
      }
    }
  }
  replace(recorded.path, baseline_text(all));
  if (!machine.empty() && !fs::exists(own / kMachine)) replace(own / kMachine, machine + "\n");
  return recorded;
}

}  // namespace ringside
