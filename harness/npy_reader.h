// Arrays in NumPy's format that somebody else wrote, and that may be anything.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "reference/dtype.h"
#include "reference/view.h"

namespace ringside {

/// How a file stores a value, little-endian: IEEE binary16, 32, 64 (descr '<f2', '<f4', '<f8'), or the bits
/// of a bfloat16, which NumPy does not know, as unsigned integers ('<u2').
enum class NpyType { f2, f4, f8, bf16 };

/// Bytes of one stored value.
constexpr Index size_of(NpyType type) { return type == NpyType::f8 ? 8 : type == NpyType::f4 ? 4 : 2; }

inline constexpr std::size_t kMaxNpyDims = 4;
/// The longest dictionary that is read: what version 1.0 can hold, six times what NumPy reads by default.
inline constexpr std::size_t kMaxNpyHeaderBytes = 65535;
/// Bytes of a file that hold its whole header, if that can be read at all.
inline constexpr std::size_t kNpyStartBytes = 12 + kMaxNpyHeaderBytes;

/// What a file holds: values of `type` in C order, from byte `data_at` to the file's end.
struct NpyHeader {
  NpyType type = NpyType::f4;
  std::vector<Index> shape{};  ///< 1 to kMaxNpyDims sizes >= 0
  std::size_t data_at = 0;

  /// Product of the sizes.
  Index elements() const;
  friend bool operator==(const NpyHeader&, const NpyHeader&) = default;
};

/// Parses the header of a .npy file of version 1.0, 2.0 or 3.0 (NumPy Enhancement Proposal 1) and checks it
/// against the file's size: elements() · size_of(type) bytes follow it, neither more nor fewer. `start`: the
/// file's first kNpyStartBytes bytes, or all if it has fewer. `file_bytes`: its size. `dtype`: what the
/// tensor is stored in; '<u2' is read as bfloat16 if it is bf16, and refused otherwise. The dictionary is
/// what NumPy takes for one, in plain spelling: keys in any order, either kind of quote, spaces and line ends
/// between the parts, a comma before the end or none, any padding behind it; but no escapes, no prefixes, no
/// numbers except decimal ones.
/// Throws UsageError "file: message": no .npy file, Fortran order, big-endian, pickled or structured values,
/// no or more than kMaxNpyDims dimensions, sizes whose bytes overflow, more or fewer bytes than promised.
NpyHeader parse_npy_header(std::string_view start, std::uint64_t file_bytes, std::string_view file_name,
                           DType dtype);

/// Converts stored values: exact, but for f8, which is rounded to fp32 (and beyond its range infinite).
/// `bytes`: values.size() · size_of(type), at any alignment.
void decode_npy(NpyType type, std::span<const std::byte> bytes, std::span<float> values);

/// An array in a file, to be read in parts: memory is the caller's, and 64 KiB.
class NpyReader {
 public:
  /// Opens a regular file and reads its header. Throws UsageError as parse_npy_header(), or with the system's
  /// reason.
  NpyReader(std::filesystem::path path, DType dtype);
  ~NpyReader();
  NpyReader(const NpyReader&) = delete;
  NpyReader& operator=(const NpyReader&) = delete;

  const NpyHeader& header() const { return header_; }
  /// Throws UsageError that names both shapes unless the array's is `shape`.
  void require_shape(std::span<const Index> shape) const;
  /// Values first, first + 1, … in C order, as decode_npy() gives them. Threads may read at the same time.
  /// Throws std::out_of_range beyond the array's end, UsageError if the file has become shorter or cannot be
  /// read.
  void read(Index first, std::span<float> values) const;

 private:
  void read_bytes(std::uint64_t at, std::span<std::byte> bytes) const;

  std::filesystem::path path_;
  int fd_ = -1;
  NpyHeader header_;
};

/// All values of an array whose shape must be `shape`: only then is memory taken for them.
std::vector<float> read_npy(const std::filesystem::path& path, std::span<const Index> shape, DType dtype);

}  // namespace ringside
