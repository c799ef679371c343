#include "harness/tensors/npy_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>

#include "harness/base/text.h"

namespace ringside {
namespace {

constexpr std::string_view kBlanks = " \t\r\n";

// Reads the dictionary from left to right.
class Dictionary {
 public:
  Dictionary(std::string_view text, std::string_view file, std::optional<DType> dtype)
      : text_(text), file_(file), dtype_(dtype) {}

  StoredArray parse() {
    StoredArray header;
    std::vector<std::string_view> keys;
    if (!text_.starts_with('{')) expected("'{'");
    ++at_;
    while (!take('}')) {
      if (!keys.empty()) require(',');
      if (take('}')) break;
      const std::string_view key = string();
      if (std::ranges::count(keys, key) > 0)
        refuse_file(file_, fmt::format("the header has {} twice", in_quotes(key)));
      keys.push_back(key);
      require(':');
      if (key == "descr") {
        header.type = type();
      } else if (key == "fortran_order") {
        refuse_fortran_order();
      } else if (key == "shape") {
        header.shape = shape();
      } else {
        refuse_file(file_, fmt::format("the header has {}, which no .npy file has", in_quotes(key)));
      }
    }
    if (text_.find_first_not_of(kBlanks, at_) != text_.npos) expected("nothing but padding after the '}'");
    for (const std::string_view key : {"descr", "fortran_order", "shape"}) {
      if (std::ranges::count(keys, key) == 0) refuse_file(file_, fmt::format("the header lacks '{}'", key));
    }
    return header;
  }

 private:
  [[noreturn]] void expected(std::string_view what) {
    at_ = std::min(text_.find_first_not_of(kBlanks, at_), text_.size());
    refuse_file(file_, at_ == text_.size() ? fmt::format("the header ends where {} was expected", what)
                                           : fmt::format("the header has {} where {} was expected",
                                                         in_quotes(text_.substr(at_)), what));
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

  StoredType type() {
    const std::string_view wanted = dtype_ ? "expected '<f4', '<f8', '<f2', or '<u2' for the bits of bf16"
                                           : "expected whole numbers, '<i8' or '<i4'";
    if (next() == '[' || next() == '(') refuse_file(file_, fmt::format("structured values; {}", wanted));
    const std::string_view descr = string();
    if (!dtype_ && descr == "<i4") return StoredType::int32;
    if (!dtype_ && descr == "<i8") return StoredType::int64;
    if (dtype_ && descr == "<f2") return StoredType::fp16;
    if (dtype_ && descr == "<f4") return StoredType::fp32;
    if (dtype_ && descr == "<f8") return StoredType::fp64;
    if (descr == "<u2" && dtype_ == DType::bf16) return StoredType::bf16;
    const std::string_view why = descr == "<u2" && dtype_
                                     ? ", but the tensor is not bf16 (--dtype bf16 says that it is)"
                                 : descr.starts_with('>')        ? ", big-endian"
                                 : descr.find('O') != descr.npos ? ", pickled objects"
                                                                 : "";
    refuse_file(file_, fmt::format("values of dtype {}{}; {}", in_quotes(descr), why, wanted));
  }

  void refuse_fortran_order() {
    next();
    const std::string_view rest = text_.substr(at_);
    if (rest.starts_with("True"))
      refuse_file(file_, "Fortran order; expected C order (numpy.ascontiguousarray)");
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
      if (sizes.size() == kMaxArrayDims)
        refuse_file(file_, fmt::format("more than {} dimensions", kMaxArrayDims));
      sizes.push_back(size());
    }
    if (sizes.empty())
      refuse_file(file_, "an array without dimensions, a single value; expected 1 to 4 dimensions");
    if (!is_tuple) refuse_file(file_, fmt::format("shape ({0}) is no tuple; expected ({0},)", sizes[0]));
    return sizes;
  }

  Index size() {
    next();
    const std::string_view rest = text_.substr(at_);
    const std::string_view digits =
        rest.substr(0, std::min(rest.find_first_not_of("0123456789"), rest.size()));
    if (digits.empty() || (digits.size() > 1 && digits[0] == '0')) expected("a size");
    const auto value = number_in<Index>(digits);
    if (!value) refuse_file(file_, fmt::format("size {} is too large", in_quotes(digits)));
    at_ += digits.size();
    return *value;
  }

  std::string_view text_, file_;
  std::optional<DType> dtype_;
  std::size_t at_ = 0;
};

}  // namespace

StoredArray parse_npy_header(std::string_view start, std::uint64_t file_bytes, std::string_view file_name,
                             std::optional<DType> dtype) {
  constexpr std::string_view kMagic = "\x93NUMPY";
  if (!start.starts_with(kMagic)) {
    refuse_file(file_name,
                fmt::format("no .npy file: it starts with {}", in_quotes(start.substr(0, kMagic.size()))));
  }
  constexpr std::size_t kVersionBytes = 8;  // with the magic
  if (start.size() < kVersionBytes) refuse_file(file_name, "ends within its version");
  const int major = static_cast<unsigned char>(start[6]), minor = static_cast<unsigned char>(start[7]);
  if (major < 1 || major > 3 || minor != 0) {
    refuse_file(file_name,
                fmt::format("version {}.{} of the format; expected 1.0, 2.0 or 3.0", major, minor));
  }
  const std::size_t dictionary_at = kVersionBytes + (major == 1 ? 2 : 4);
  if (start.size() < dictionary_at) refuse_file(file_name, "ends within the length of its header");
  const std::size_t length = little_endian_number(start.substr(kVersionBytes, dictionary_at - kVersionBytes));
  if (length > kMaxNpyHeaderBytes) {
    refuse_file(file_name,
                fmt::format("a header of {} bytes; expected at most {}", length, kMaxNpyHeaderBytes));
  }
  const std::string_view dictionary = start.substr(dictionary_at, length);
  if (dictionary.size() < length) {
    refuse_file(file_name, fmt::format("ends within its header of {} bytes", length));
  }
  StoredArray header = Dictionary(dictionary, file_name, dtype).parse();
  header.data_at = dictionary_at + length;
  const std::uint64_t bytes = header.bytes(file_name);
  const std::uint64_t there = file_bytes - header.data_at;
  if (bytes != there) {
    refuse_file(file_name, fmt::format("{} bytes of values; expected {} of shape {} and {} bytes a value",
                                       there, bytes, tuple_text(header.shape), size_of(header.type)));
  }
  return header;
}

std::vector<Index> read_npy_integers(const std::filesystem::path& path, Index count) {
  const InputFile file(path);
  const StoredArray array =
      parse_npy_header(file.start(kNpyStartBytes), file.size(), file.name(), std::nullopt);
  if (array.shape.size() != 1 || array.shape[0] != count) {
    refuse_file(file.name(), fmt::format("shape {}; expected {}", tuple_text(array.shape),
                                         tuple_text(std::span(&count, 1))));
  }
  const auto read = [&]<typename T>(T) {
    std::vector<T> values(static_cast<std::size_t>(count));
    file.read(array.data_at, std::as_writable_bytes(std::span(values)));
    return std::vector<Index>(values.begin(), values.end());
  };
  return array.type == StoredType::int32 ? read(std::int32_t{}) : read(std::int64_t{});
}

ArrayReader open_npy(const std::filesystem::path& path, DType dtype) {
  InputFile file(path);
  const std::string name = file.name();
  StoredArray array = parse_npy_header(file.start(kNpyStartBytes), file.size(), name, dtype);
  return ArrayReader(std::move(file), std::move(array), name);
}

}  // namespace ringside
