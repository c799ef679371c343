// An array in somebody else's file, whatever the file's format: the header's reader says where the values
// are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "harness/base/files.h"
#include "reference/view.h"

namespace ringside {

/// How a file stores a value, little-endian: IEEE binary16, 32, 64, bfloat16, or (never a
/// tensor) a signed integer.
enum class StoredType { fp16, fp32, fp64, bf16, int32, int64 };

/// Bytes of one stored value.
constexpr Index size_of(StoredType type) {
  switch (type) {
    case StoredType::fp64:
    case StoredType::int64:
      return 8;
    case StoredType::fp32:
    case StoredType::int32:
      return 4;
    case StoredType::fp16:
    case StoredType::bf16:
      return 2;
  }
  return 0;
}

inline constexpr std::size_t kMaxArrayDims = 4;

/// What a file holds of an array: values of `type` in C order, without gaps, from byte `data_at` on.
struct StoredArray {
  StoredType type = StoredType::fp32;
  std::vector<Index> shape{};  ///< 1 to kMaxArrayDims sizes >= 0
  std::uint64_t data_at = 0;

  /// Product of the sizes.
  Index elements() const;
  /// elements() · size_of(type). Throws UsageError "file: message" if a shape like this cannot be meant: its
  /// bytes overflow, also where only a size of 0 hides that.
  std::uint64_t bytes(std::string_view file_name) const;
  friend bool operator==(const StoredArray&, const StoredArray&) = default;
};

/// Converts stored values to fp32: exact, but for fp64, which is rounded to nearest (and beyond fp32's range
/// infinite). Returns how many values that changed; a NaN stays one and does not count. `bytes`:
/// values.size() · size_of(type), at any alignment (std::invalid_argument).
Index decode(StoredType type, std::span<const std::byte> bytes, std::span<float> values);

/// An array in a file, to be read in parts: memory is the caller's, and 64 KiB. Threads may read at the same
/// time. It keeps a file open: 1024 at a time is what systems usually allow.
class ArrayReader {
 public:
  /// `array` must lie in `file`. `source`: what messages call it, beginning with the file's name.
  ArrayReader(InputFile file, StoredArray array, std::string source)
      : file_(std::move(file)), array_(std::move(array)), source_(std::move(source)) {}

  StoredType type() const { return array_.type; }
  /// 1 to kMaxArrayDims sizes >= 0.
  const std::vector<Index>& shape() const { return array_.shape; }
  Index elements() const { return array_.elements(); }
  /// For messages: "dir/q.npy", "dir/model.safetensors: 'q'".
  const std::string& source() const { return source_; }

  /// Throws UsageError that names both shapes unless the array's is `shape`.
  void require_shape(std::span<const Index> shape) const;
  /// Values first, first + 1, … in C order, and as decode() how many of them fp32 does not hold: of outputs
  /// in fp64 that is nothing to worry about, for rounding errs by 2^-24 of a value, the least that a bound
  /// allows fp32; inputs must be exact, or the truth is that of another problem. Throws std::out_of_range
  /// beyond the array's end, UsageError as InputFile::read().
  Index read(Index first, std::span<float> values) const;

 private:
  InputFile file_;
  StoredArray array_;
  std::string source_;
};

/// An unsigned number of up to 8 bytes, the lowest first.
std::uint64_t little_endian_number(std::string_view bytes);

/// As Python writes a tuple: "(2, 3)", "(5,)".
std::string tuple_text(std::span<const Index> shape);

}  // namespace ringside
