// A file that grows by whole lines.
#pragma once

#include <cstddef>
#include <functional>
#include <string>

namespace ringside {

/// A file to which lines are appended, each handed to the system when append() returns. One process writes
/// it at a time.
class LineFile {
 public:
  /// Opens or makes the file. Throws UsageError if it cannot be written or another process has it open like
  /// this.
  explicit LineFile(std::string path);
  ~LineFile();
  LineFile(LineFile&& other) noexcept;
  LineFile& operator=(LineFile&&) = delete;

  /// Cuts off all but the first `keep` bytes, which there must be.
  void cut(std::size_t keep);
  /// Throws InfrastructureError naming the file; the last line may then be torn.
  void append(std::string line);
  /// Takes the place of the file `path`, if there is one, in one step. Throws InfrastructureError.
  void rename(const std::string& path);

 private:
  std::string path_;
  int fd_ = -1;
};

/// Puts a file with the lines that `write` appends in place of `path`, in one step; if that throws, nothing
/// has changed.
void replace_file(const std::string& path, const std::function<void(LineFile&)>& write);

}  // namespace ringside
