#include "harness/tensors/array_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "harness/base/text.h"
#include "reference/dtype.h"
#include "reference/error.h"

namespace ringside {
namespace {

static_assert(std::endian::native == std::endian::little, "values are taken as they lie in the file");

float to_fp32(double x) { return static_cast<float>(x); }
template <typename Stored>
float to_fp32(Stored x) {
  return to_float(x);
}

// Whether fp32 does not hold x, which has become y. Bits are compared: a thread that takes denormals for 0
// would find them equal.
bool is_changed(double x, float y) {
  return !std::isnan(x) && std::bit_cast<std::uint64_t>(x) != std::bit_cast<std::uint64_t>(double{y});
}
template <typename Stored>
bool is_changed(Stored, float) {
  return false;
}

template <typename Stored>
Index decode_as(std::span<const std::byte> bytes, std::span<float> values) {
  Index changed = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    Stored stored;
    std::memcpy(&stored, bytes.data() + i * sizeof(Stored), sizeof(Stored));
    values[i] = to_fp32(stored);
    changed += is_changed(stored, values[i]);
  }
  return changed;
}

}  // namespace

Index StoredArray::elements() const {
  if (std::ranges::count(shape, 0) > 0) return 0;  // before the others overflow
  Index product = 1;
  for (const Index size : shape) product *= size;
  return product;
}

std::uint64_t StoredArray::bytes(std::string_view file_name) const {
  Index bytes = size_of(type);
  for (const Index size : shape) {
    if (size > std::numeric_limits<Index>::max() / bytes)
      refuse_file(file_name, fmt::format("shape {} has more bytes than can be counted", tuple_text(shape)));
    bytes *= std::max<Index>(size, 1);
  }
  return static_cast<std::uint64_t>(elements() * size_of(type));
}

Index decode(StoredType type, std::span<const std::byte> bytes, std::span<float> values) {
  if (std::ssize(bytes) != std::ssize(values) * size_of(type)) {
    throw std::invalid_argument(fmt::format("{} bytes for {} values", bytes.size(), values.size()));
  }
  switch (type) {
    case StoredType::fp16:
      return decode_as<Float16>(bytes, values);
    case StoredType::fp32:
      return decode_as<float>(bytes, values);
    case StoredType::fp64:
      return decode_as<double>(bytes, values);
    case StoredType::bf16:
      return decode_as<BFloat16>(bytes, values);
    case StoredType::int32:
    case StoredType::int64:
      break;
  }
  throw std::invalid_argument("not stored as numbers that may have fractions");
}

void ArrayReader::require_shape(std::span<const Index> shape) const {
  if (std::ranges::equal(array_.shape, shape)) return;
  refuse_file(source_, fmt::format("shape {}; expected {}", tuple_text(array_.shape), tuple_text(shape)));
}

Index ArrayReader::read(Index first, std::span<float> values) const {
  const Index elements = array_.elements();
  if (first < 0 || first > elements || std::ssize(values) > elements - first) {
    throw std::out_of_range(
        fmt::format("{} values from {} on of {}'s {}", values.size(), first, source_, elements));
  }
  constexpr std::size_t kBufferBytes = std::size_t{1} << 16;
  const auto value_bytes = static_cast<std::size_t>(size_of(array_.type));
  std::vector<std::byte> buffer(std::min(kBufferBytes, values.size() * value_bytes));
  std::uint64_t at = array_.data_at + static_cast<std::uint64_t>(first) * value_bytes;
  Index changed = 0;
  while (!values.empty()) {
    const std::size_t count = std::min(values.size(), kBufferBytes / value_bytes);
    const auto part = std::span(buffer).first(count * value_bytes);
    file_.read(at, part);
    changed += decode(array_.type, part, values.first(count));
    at += part.size();
    values = values.subspan(count);
  }
  return changed;
}

std::uint64_t little_endian_number(std::string_view bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

std::string tuple_text(std::span<const Index> shape) {
  std::string text;
  for (const Index size : shape) text += fmt::format("{}{}", text.empty() ? "(" : ", ", size);
  return (text.empty() ? "(" : text) + (shape.size() == 1 ? ",)" : ")");
}

}  // namespace ringside
