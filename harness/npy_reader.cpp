#include "harness/npy_reader.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

#include "reference/error.h"

namespace ringside {
namespace {

static_assert(std::endian::native == std::endian::little, "values are taken as they lie in the file");

[[noreturn]] void fail(std::string_view file, std::string_view message) {
  throw UsageError(fmt::format("{}: {}", file, message));
}

// The file's own text for a message: what a terminal might take for a command, or a reader for nothing, as
// \x1b.
std::string shown(std::string_view text) {
  constexpr std::size_t kShown = 40;
  std::string out = "'";
  for (const char c : text.substr(0, kShown)) {
    const bool is_plain = c >= 0x20 && c < 0x7f;
    out += is_plain ? std::string(1, c) : fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  }
  return out + (text.size() > kShown ? "…'" : "'");
}

// As Python writes a tuple.
std::string tuple(std::span<const Index> shape) {
  std::string text;
  for (const Index size : shape) text += fmt::format("{}{}", text.empty() ? "(" : ", ", size);
  return text + (shape.size() == 1 ? ",)" : ")");
}

constexpr std::string_view kBlanks = " \t\r\n";

// Reads the dictionary from left to right.
class Dictionary {
 public:
  Dictionary(std::string_view text, std::string_view file, DType dtype)
      : text_(text), file_(file), dtype_(dtype) {}

  NpyHeader parse() {
    NpyHeader header;
    std::vector<std::string_view> keys;
    if (!text_.starts_with('{')) expected("'{'");
    ++at_;
    while (!take('}')) {
      if (!keys.empty()) require(',');
      if (take('}')) break;
      const std::string_view key = string();
      if (std::ranges::count(keys, key) > 0) fail(file_, fmt::format("the header has {} twice", shown(key)));
      keys.push_back(key);
      require(':');
      if (key == "descr") {
        header.type = type();
      } else if (key == "fortran_order") {
        refuse_fortran_order();
      } else if (key == "shape") {
        header.shape = shape();
      } else {
        fail(file_, fmt::format("the header has {}, which no .npy file has", shown(key)));
      }
    }
    if (text_.find_first_not_of(kBlanks, at_) != text_.npos) expected("nothing but padding after the '}'");
    for (const std::string_view key : {"descr", "fortran_order", "shape"}) {
      if (std::ranges::count(keys, key) == 0) fail(file_, fmt::format("the header lacks '{}'", key));
    }
    return header;
  }

 private:
  [[noreturn]] void expected(std::string_view what) {
    at_ = std::min(text_.find_first_not_of(kBlanks, at_), text_.size());
    fail(file_, at_ == text_.size()
                    ? fmt::format("the header ends where {} was expected", what)
                    : fmt::format("the header has {} where {} was expected", shown(text_.substr(at_)), what));
  }

  // The next character that is not blank; 0 at the end.
  char next() {
    at_ = std::min(text_.find_first_not_of(kBlanks, at_), text_.size());
    return at_ < text_.size() ? text_[at_] : '\0';
  }

  bool take(char c) {
    if (next() != c || at_ == text_.size()) return false;
    ++at_;
    return true;
  }

  void require(char c) {
    if (!take(c)) expected(fmt::format("'{}'", c));
  }

  std::string_view string() {
    const char quote = next();
    if (quote != '\'' && quote != '"') expected("a string");
    const std::size_t end = text_.find_first_of(std::array{quote, '\\', '\n', '\r', '\0'}.data(), at_ + 1);
    if (end == text_.npos || text_[end] != quote) expected("a string that ends, without escapes,");
    const std::string_view content = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return content;
  }

  NpyType type() {
    constexpr std::string_view kWanted = "expected '<f4', '<f8', '<f2', or '<u2' for the bits of bf16";
    if (next() == '[' || next() == '(') fail(file_, fmt::format("structured values; {}", kWanted));
    const std::string_view descr = string();
    if (descr == "<f2") return NpyType::f2;
    if (descr == "<f4") return NpyType::f4;
    if (descr == "<f8") return NpyType::f8;
    if (descr == "<u2" && dtype_ == DType::bf16) return NpyType::bf16;
    const std::string_view why = descr == "<u2"                  ? ", but the tensor is not bf16"
                                 : descr.starts_with('>')        ? ", big-endian"
                                 : descr.find('O') != descr.npos ? ", pickled objects"
                                                                 : "";
    fail(file_, fmt::format("values of dtype {}{}; {}", shown(descr), why, kWanted));
  }

  void refuse_fortran_order() {
    next();
    const std::string_view rest = text_.substr(at_);
    if (rest.starts_with("True")) fail(file_, "Fortran order; expected C order (numpy.ascontiguousarray)");
    if (!rest.starts_with("False")) expected("True or False");
    at_ += 5;
  }

  std::vector<Index> shape() {
    std::vector<Index> sizes;
    require('(');
    bool is_tuple = false;  // a comma makes it one: (5) is a number
    while (!take(')')) {
      if (!sizes.empty()) {
        require(',');
        is_tuple = true;
        if (take(')')) break;
      }
      if (sizes.size() == kMaxNpyDims) fail(file_, fmt::format("more than {} dimensions", kMaxNpyDims));
      sizes.push_back(size());
    }
    if (sizes.empty()) fail(file_, "an array without dimensions, a single value; expected 1 to 4 dimensions");
    if (!is_tuple) fail(file_, fmt::format("shape ({0}) is no tuple; expected ({0},)", sizes[0]));
    return sizes;
  }

  Index size() {
    next();
    const std::string_view rest = text_.substr(at_);
    const std::string_view digits =
        rest.substr(0, std::min(rest.find_first_not_of("0123456789"), rest.size()));
    if (digits.empty() || (digits.size() > 1 && digits[0] == '0')) expected("a size");
    Index value = 0;
    if (std::from_chars(digits.data(), digits.data() + digits.size(), value).ec != std::errc{}) {
      fail(file_, fmt::format("size {} is too large", shown(digits)));
    }
    at_ += digits.size();
    return value;
  }

  std::string_view text_, file_;
  DType dtype_;
  std::size_t at_ = 0;
};

// Bytes of the values, unless a header like this cannot be meant: then also where a size of 0 hides it.
std::optional<std::uint64_t> data_bytes(const NpyHeader& header) {
  Index bytes = size_of(header.type);
  for (const Index size : header.shape) {
    if (size > std::numeric_limits<Index>::max() / bytes) return std::nullopt;
    bytes *= std::max<Index>(size, 1);
  }
  return static_cast<std::uint64_t>(header.elements() * size_of(header.type));
}

// Little-endian.
std::size_t number(std::string_view bytes) {
  std::size_t value = 0;
  for (std::size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

float to_fp32(double x) { return static_cast<float>(x); }
template <typename Stored>
float to_fp32(Stored x) {
  return to_float(x);
}

template <typename Stored>
void decode(std::span<const std::byte> bytes, std::span<float> values) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    Stored stored;
    std::memcpy(&stored, bytes.data() + i * sizeof(Stored), sizeof(Stored));
    values[i] = to_fp32(stored);
  }
}

}  // namespace

Index NpyHeader::elements() const {
  Index product = 1;
  for (const Index size : shape) {
    if (size == 0) return 0;  // before the others overflow
  }
  for (const Index size : shape) product *= size;
  return product;
}

NpyHeader parse_npy_header(std::string_view start, std::uint64_t file_bytes, std::string_view file_name,
                           DType dtype) {
  constexpr std::string_view kMagic = "\x93NUMPY";
  if (!start.starts_with(kMagic)) {
    fail(file_name, fmt::format("no .npy file: it starts with {}", shown(start.substr(0, kMagic.size()))));
  }
  constexpr std::size_t kVersionBytes = 8;  // with the magic
  if (start.size() < kVersionBytes) fail(file_name, "ends within its version");
  const int major = static_cast<unsigned char>(start[6]), minor = static_cast<unsigned char>(start[7]);
  if (major < 1 || major > 3 || minor != 0) {
    fail(file_name, fmt::format("version {}.{} of the format; expected 1.0, 2.0 or 3.0", major, minor));
  }
  const std::size_t dictionary_at = kVersionBytes + (major == 1 ? 2 : 4);
  if (start.size() < dictionary_at) fail(file_name, "ends within the length of its header");
  const std::size_t length = number(start.substr(kVersionBytes, dictionary_at - kVersionBytes));
  if (length > kMaxNpyHeaderBytes) {
    fail(file_name, fmt::format("a header of {} bytes; expected at most {}", length, kMaxNpyHeaderBytes));
  }
  const std::string_view dictionary = start.substr(dictionary_at, length);
  if (dictionary.size() < length) {
    fail(file_name, fmt::format("ends within its header of {} bytes", length));
  }
  NpyHeader header = Dictionary(dictionary, file_name, dtype).parse();
  header.data_at = dictionary_at + length;
  const std::optional<std::uint64_t> bytes = data_bytes(header);
  if (!bytes)
    fail(file_name, fmt::format("shape {} has more bytes than can be counted", tuple(header.shape)));
  const std::uint64_t there = file_bytes - header.data_at;
  if (*bytes != there) {
    fail(file_name, fmt::format("{} bytes of values; expected {} of shape {} and {} bytes a value", there,
                                *bytes, tuple(header.shape), size_of(header.type)));
  }
  return header;
}

void decode_npy(NpyType type, std::span<const std::byte> bytes, std::span<float> values) {
  if (std::ssize(bytes) != std::ssize(values) * size_of(type)) {
    throw std::invalid_argument(fmt::format("npy: {} bytes for {} values", bytes.size(), values.size()));
  }
  switch (type) {
    case NpyType::f2:
      return decode<Float16>(bytes, values);
    case NpyType::f4:
      return decode<float>(bytes, values);
    case NpyType::f8:
      return decode<double>(bytes, values);
    case NpyType::bf16:
      return decode<BFloat16>(bytes, values);
  }
}

NpyReader::NpyReader(std::filesystem::path path, DType dtype) : path_(std::move(path)) {
  // A pipe would keep open() waiting for somebody who writes, hence O_NONBLOCK.
  fd_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd_ < 0) fail(path_.string(), "cannot open: " + std::generic_category().message(errno));
  try {
    struct stat status {};
    if (::fstat(fd_, &status) != 0) fail(path_.string(), std::generic_category().message(errno));
    if (!S_ISREG(status.st_mode)) fail(path_.string(), "not a regular file");
    const auto file_bytes = static_cast<std::uint64_t>(status.st_size);
    std::string start(std::min<std::uint64_t>(file_bytes, kNpyStartBytes), '\0');
    read_bytes(0, std::as_writable_bytes(std::span(start)));
    header_ = parse_npy_header(start, file_bytes, path_.string(), dtype);
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

NpyReader::~NpyReader() { ::close(fd_); }

void NpyReader::require_shape(std::span<const Index> shape) const {
  if (std::ranges::equal(header_.shape, shape)) return;
  fail(path_.string(), fmt::format("shape {}; expected {}", tuple(header_.shape), tuple(shape)));
}

void NpyReader::read_bytes(std::uint64_t at, std::span<std::byte> bytes) const {
  while (!bytes.empty()) {
    const ssize_t got = ::pread(fd_, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(path_.string(), "cannot read: " + std::generic_category().message(errno));
    if (got == 0) fail(path_.string(), fmt::format("has become shorter: it ends at byte {}", at));
    at += static_cast<std::uint64_t>(got);
    bytes = bytes.subspan(static_cast<std::size_t>(got));
  }
}

void NpyReader::read(Index first, std::span<float> values) const {
  if (first < 0 || first > header_.elements() || std::ssize(values) > header_.elements() - first) {
    throw std::out_of_range(fmt::format("npy: {} values from {} on of {}'s {}", values.size(), first,
                                        path_.string(), header_.elements()));
  }
  constexpr std::size_t kBufferBytes = std::size_t{1} << 16;
  const auto value_bytes = static_cast<std::size_t>(size_of(header_.type));
  std::vector<std::byte> buffer(std::min(kBufferBytes, values.size() * value_bytes));
  std::uint64_t at = header_.data_at + static_cast<std::uint64_t>(first) * value_bytes;
  while (!values.empty()) {
    const std::size_t count = std::min(values.size(), kBufferBytes / value_bytes);
    const auto part = std::span(buffer).first(count * value_bytes);
    read_bytes(at, part);
    decode_npy(header_.type, part, values.first(count));
    at += part.size();
    values = values.subspan(count);
  }
}

std::vector<float> read_npy(const std::filesystem::path& path, std::span<const Index> shape, DType dtype) {
  const NpyReader reader(path, dtype);
  reader.require_shape(shape);
  std::vector<float> values(static_cast<std::size_t>(reader.header().elements()));
  reader.read(0, values);
  return values;
}

}  // namespace ringside
