// Reads NumPy's .npy files, and refuses malformed ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

#include "harness/tensors/array_reader.h"
#include "reference/dtype.h"

namespace ringside {

/// The longest dictionary that is read: what version 1.0 can hold, six times what NumPy reads by default.
inline constexpr std::size_t kMaxNpyHeaderBytes = 65535;
/// Bytes of a file that hold its whole header, if that can be read at all.
inline constexpr std::size_t kNpyStartBytes = 12 + kMaxNpyHeaderBytes;

/// Parses the header of a .npy file of version 1.0, 2.0 or 3.0 (NumPy Enhancement Proposal 1) and checks it
/// against the file's size: the array's bytes() follow it, neither more nor fewer. `start`: the file's first
/// kNpyStartBytes bytes, or all if it has fewer. `file_bytes`: its size. `dtype`: what the tensor is stored
/// in; '<u2' is read as bfloat16 if it is bf16, and refused otherwise; empty: it holds whole numbers. The
/// dictionary is what NumPy takes for one, in plain spelling: keys in any order, either kind of quote, spaces
/// and line ends between the parts, a comma before the end or none, any padding behind it; but no escapes, no
/// prefixes, no numbers except decimal ones. Throws UsageError "file: message": no .npy file, Fortran order,
/// big-endian, pickled or structured values, no or more than kMaxArrayDims dimensions, sizes whose bytes
/// overflow, more or fewer bytes than promised.
StoredArray parse_npy_header(std::string_view start, std::uint64_t file_bytes, std::string_view file_name,
                             std::optional<DType> dtype);

/// A file with one axis of `count` whole numbers ('<i4' or '<i8'), all of them. Throws UsageError "file:
/// message" if it is another.
std::vector<Index> read_npy_integers(const std::filesystem::path& path, Index count);

/// Opens a file and reads its header. Throws UsageError as InputFile and parse_npy_header().
ArrayReader open_npy(const std::filesystem::path& path, DType dtype);

}  // namespace ringside
