#include "harness/base/line_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

#include "reference/error.h"

namespace ringside {
namespace {

bool is_regular(int fd) {
  struct stat state {};
  return ::fstat(fd, &state) == 0 && S_ISREG(state.st_mode);
}

}  // namespace

LineFile::LineFile(std::string path) : path_(std::move(path)) {
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd_ < 0) throw UsageError(fmt::format("{}: cannot be written: {}", path_, std::strerror(errno)));
  // file systems without locks have other errors; devices are nobody's own
  if (is_regular(fd_) && ::flock(fd_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    ::close(fd_);
    throw UsageError(fmt::format("{}: another run is writing it", path_));
  }
}

void LineFile::cut(std::size_t keep) {
  if (is_regular(fd_) && ::ftruncate(fd_, static_cast<off_t>(keep)) != 0)
    throw InfrastructureError(fmt::format("{}: cannot be cut: {}", path_, std::strerror(errno)));
}

LineFile::~LineFile() {
  if (fd_ >= 0) ::close(fd_);
}

LineFile::LineFile(LineFile&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)) {}

void LineFile::append(std::string line) {
  line += '\n';
  for (std::string_view rest = line; !rest.empty();) {
    const ssize_t written = ::write(fd_, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0)
      throw InfrastructureError(fmt::format("{}: write failed: {}", path_, std::strerror(errno)));
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
}

void LineFile::rename(const std::string& path) {
  if (std::rename(path_.c_str(), path.c_str()) != 0)
    throw InfrastructureError(fmt::format("{}: cannot be replaced: {}", path, std::strerror(errno)));
  path_ = path;
}

void replace_file(const std::string& path, const std::function<void(LineFile&)>& write) {
  const std::string fresh = path + ".new";
  LineFile file(fresh);
  try {
    file.cut(0);
    write(file);
    file.rename(path);
  } catch (...) {
    std::error_code ignored;
    std::filesystem::remove(fresh, ignored);
    throw;
  }
}

}  // namespace ringside
