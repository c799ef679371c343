// Reads safetensors files, and refuses malformed ones. The format:
// https://github.com/huggingface/safetensors#format
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "harness/tensors/array_reader.h"

namespace ringside {

/// The longest header that is read. The format allows 100 MB; a tensor takes some 70 bytes of it, so that
/// this is enough for more than ten thousand.
inline constexpr std::size_t kMaxSafetensorsHeaderBytes = std::size_t{1} << 20;
/// Bytes of a file that hold its whole header, if that can be read at all.
inline constexpr std::size_t kSafetensorsStartBytes = 8 + kMaxSafetensorsHeaderBytes;

/// The most dimensions that a header may have, as many as NumPy and PyTorch know. None but kMaxArrayDims are
/// read.
inline constexpr std::size_t kMaxSafetensorsDims = 64;

/// A tensor as the header has it.
struct SafetensorsEntry {
  std::string dtype{};         ///< "F32", "BF16", "I64", …
  std::vector<Index> shape{};  ///< 0 to kMaxSafetensorsDims sizes >= 0
  std::uint64_t begin = 0;     ///< offset in the file of its first byte
  std::uint64_t end = 0;       ///< and behind its last
  friend bool operator==(const SafetensorsEntry&, const SafetensorsEntry&) = default;
};

using SafetensorsHeader = std::map<std::string, SafetensorsEntry, std::less<>>;

/// Parses the header of a .safetensors file (8 bytes of length, little-endian; a JSON object of tensors by
/// name, and of "__metadata__", whose strings are not kept) and checks it: tensors lie in the file, each
/// behind another, without overlaps, gaps or bytes behind the last; those of F64, F32, F16 and BF16 have the
/// bytes of their shape; those of other dtypes are never read, and their sizes not compared. `start`: the
/// file's first kSafetensorsStartBytes bytes, or all if it has fewer. `file_bytes`: its size. Memory: less
/// than ten times the header's length.
/// Throws UsageError "file: message": what is no such header; a longer one than
/// kMaxSafetensorsHeaderBytes; a name or a member twice; a member that the format does not have; more than
/// kMaxSafetensorsDims dimensions.
SafetensorsHeader parse_safetensors_header(std::string_view start, std::uint64_t file_bytes,
                                           std::string_view file_name);

/// The tensor `name`. Throws UsageError "file: message" if there is none, it is not of F64, F32, F16 or
/// BF16, or has no or more than kMaxArrayDims dimensions.
StoredArray stored_array(const SafetensorsHeader& header, std::string_view name, std::string_view file_name);

/// Opens a file and reads its header. Throws UsageError as InputFile and parse_safetensors_header().
SafetensorsHeader read_safetensors_header(const std::filesystem::path& path);

/// Opens one tensor of a file. Throws UsageError as read_safetensors_header() and stored_array().
ArrayReader open_safetensors(const std::filesystem::path& path, std::string_view name);

}  // namespace ringside
