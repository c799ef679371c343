// Files that are read or written whole.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

namespace ringside {

/// The whole content of a file. Throws UsageError "file: message" if it cannot be read or is larger than
/// `limit` bytes.
std::string read_file(const std::filesystem::path& path, std::size_t limit);

/// Writes `text`, which ends a line, to `file`, in place of what it held. Throws UsageError if it cannot be
/// opened, InfrastructureError if a disk is full.
void write_text(std::string text, const std::string& file);

}  // namespace ringside
