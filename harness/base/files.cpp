#include "harness/base/files.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <memory>
#include <system_error>
#include <utility>

#include "harness/base/line_file.h"
#include "reference/error.h"

namespace ringside {

std::string read_file(const std::filesystem::path& path, std::size_t limit) {
  const auto fail = [&](std::string_view reason) {
    throw UsageError(fmt::format("{}: {}", path.string(), reason));
  };
  const auto close = [](std::FILE* file) { std::fclose(file); };
  const std::unique_ptr<std::FILE, decltype(close)> file(std::fopen(path.c_str(), "rb"));
  if (!file) fail("cannot open: " + std::generic_category().message(errno));
  std::string text;
  while (text.size() <= limit) {
    constexpr std::size_t kStep = std::size_t{1} << 16;
    const std::size_t before = text.size();
    text.resize(before + kStep);
    const std::size_t got = std::fread(text.data() + before, 1, kStep, file.get());
    text.resize(before + got);
    if (got == kStep) continue;
    if (std::ferror(file.get())) fail("cannot read: " + std::generic_category().message(errno));
    break;
  }
  if (text.size() > limit) fail(fmt::format("larger than {} bytes", limit));
  return text;
}

void write_text(std::string text, const std::string& file) {
  LineFile out(file);
  out.cut(0);
  text.pop_back();  // append() ends the line
  out.append(std::move(text));
}

}  // namespace ringside
