// Files: read whole or in parts, written whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace ringside {

/// The whole content of a file. Throws UsageError "file: message" if it cannot be read or is larger than
/// `limit` bytes.
std::string read_file(const std::filesystem::path& path, std::size_t limit);

/// Writes `text`, which ends a line, to `file`, in place of what it held. Throws UsageError if it cannot be
/// opened, InfrastructureError if a disk is full.
void write_text(std::string text, const std::string& file);

/// Makes a directory and those above it, if they are missing. Throws UsageError if it cannot.
void make_directory(const std::filesystem::path& directory);

/// A regular file, open for reading. Threads may read at the same time.
class InputFile {
 public:
  /// Throws UsageError "file: message", here as in read(), with the system's reason.
  explicit InputFile(const std::filesystem::path& path);
  ~InputFile();
  InputFile(InputFile&& other) noexcept;
  InputFile& operator=(InputFile&&) = delete;

  const std::string& name() const { return name_; }
  std::uint64_t size() const { return size_; }
  /// The first `most` bytes, or all if there are fewer.
  std::string start(std::size_t most) const;
  /// Fills `bytes` with the file's from byte `at` on. Throws UsageError if it has become shorter than that.
  void read(std::uint64_t at, std::span<std::byte> bytes) const;

 private:
  std::string name_;
  int fd_ = -1;  // -1: moved from
  std::uint64_t size_ = 0;
};

}  // namespace ringside
