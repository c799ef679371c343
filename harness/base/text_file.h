// A file that is written whole.
#pragma once

#include <string>

#include "harness/base/line_file.h"

namespace ringside {

/// Writes `text`, which ends a line, to `file`, in place of what it held. Throws UsageError if it cannot be
/// opened, InfrastructureError if a disk is full.
inline void write_text(std::string text, const std::string& file) {
  LineFile out(file);
  out.cut(0);
  text.pop_back();  // append() ends the line
  out.append(std::move(text));
}

}  // namespace ringside
