#include "harness/tensors/array_reader.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "harness/base/text.h"
#include "reference/dtype.h"
#include "reference/error.h"

namespace ringside {
namespace {

static_assert(std::endian::native == std::endian::little, "values are taken as they lie in the file");

std::string system_reason() { return std::generic_category().message(errno); }

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
