#include "harness/base/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <system_error>
#include <utility>

#include "harness/base/line_file.h"
#include "harness/base/text.h"

namespace ringside {
namespace {

std::string system_reason() { return std::generic_category().message(errno); }

}  // namespace

std::string read_file(const std::filesystem::path& path, std::size_t limit) {
  const auto fail = [&](std::string_view reason) { refuse_file(path.string(), reason); };
  const auto close = [](std::FILE* file) { std::fclose(file); };
  const std::unique_ptr<std::FILE, decltype(close)> file(std::fopen(path.c_str(), "rb"));
  if (!file) fail("cannot open: " + system_reason());
  std::string text;
  while (text.size() <= limit) {
    constexpr std::size_t kStep = std::size_t{1} << 16;
    const std::size_t before = text.size();
    text.resize(before + kStep);
    const std::size_t got = std::fread(text.data() + before, 1, kStep, file.get());
    text.resize(before + got);
    if (got == kStep) continue;
    if (std::ferror(file.get())) fail("cannot read: " + system_reason());
    break;
  }
  if (text.size() > limit) fail(fmt::format("larger than {} bytes", limit));
  return text;
}

void make_directory(const std::filesystem::path& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) refuse_file(directory.string(), "cannot be made: " + error.message());
}

void write_text(std::string text, const std::string& file) {
  LineFile out(file);
  out.cut(0);
  text.pop_back();  // append() ends the line
  out.append(std::move(text));
}

InputFile::InputFile(const std::filesystem::path& path) : name_(path.string()) {
  // A pipe would keep open() waiting for somebody who writes, hence O_NONBLOCK.
  fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd_ < 0) refuse_file(name_, "cannot open: " + system_reason());
  struct stat status {};
  std::string wrong;
  if (::fstat(fd_, &status) != 0) {
    wrong = system_reason();
  } else if (!S_ISREG(status.st_mode)) {
    wrong = "not a regular file";
  }
  if (!wrong.empty()) {
    ::close(fd_);
    refuse_file(name_, wrong);
  }
  size_ = static_cast<std::uint64_t>(status.st_size);
}

InputFile::~InputFile() {
  if (fd_ >= 0) ::close(fd_);
}

InputFile::InputFile(InputFile&& other) noexcept
    : name_(std::move(other.name_)), fd_(std::exchange(other.fd_, -1)), size_(other.size_) {}

std::string InputFile::start(std::size_t most) const {
  std::string text(std::min<std::uint64_t>(size_, most), '\0');
  read(0, std::as_writable_bytes(std::span(text)));
  return text;
}

void InputFile::read(std::uint64_t at, std::span<std::byte> bytes) const {
  while (!bytes.empty()) {
    const ssize_t got = ::pread(fd_, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) refuse_file(name_, "cannot read: " + system_reason());
    if (got == 0) refuse_file(name_, fmt::format("has become shorter: it ends at byte {}", at));
    at += static_cast<std::uint64_t>(got);
    bytes = bytes.subspan(static_cast<std::size_t>(got));
  }
}

}  // namespace ringside
