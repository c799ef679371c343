#include "harness/dashboard/page.h"

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>

#include "harness/base/line_file.h"
#include "reference/error.h"

namespace ringside {
// page_parts.cpp, made of the page's sources: what stands before and after the data
extern const std::string_view page_before_data, page_after_data;

std::string escape_for_script(std::string_view json) {
  std::string safe;
  safe.reserve(json.size() + json.size() / 64);
  for (std::size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    const std::string_view three = json.substr(i, 3);
    if (c == '<' || c == '>' || c == '&') {
      safe += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else if (three == "\xe2\x80\xa8" || three == "\xe2\x80\xa9") {  // U+2028, U+2029
      safe += three[2] == '\xa8' ? "\\u2028" : "\\u2029";
      i += 2;
    } else {
      safe += c;
    }
  }
  return safe;
}

std::string dashboard_page(std::string_view json) {
  return fmt::format("{}{}{}", page_before_data, escape_for_script(json), page_after_data);
}

void write_page(const std::string& file, const std::string& page) {
  std::error_code error;
  if (std::filesystem::exists(file, error) && !std::filesystem::is_regular_file(file, error))
    throw UsageError(fmt::format("{}: is no file that could be replaced", file));  // nor is /dev/null
  const std::string fresh = fmt::format("{}.{}.new", file, getpid());
  try {
    LineFile out(fresh);
    out.cut(0);
    out.append(page);
    out.rename(file);
  } catch (const std::exception&) {
    std::filesystem::remove(fresh, error);
    throw;
  }
}

}  // namespace ringside
