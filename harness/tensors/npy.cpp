#include "harness/tensors/npy.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <system_error>

#include "harness/tensors/array_reader.h"
#include "reference/error.h"

namespace ringside {
namespace {

static_assert(std::endian::native == std::endian::little, "arrays are written as they lie in memory");

[[noreturn]] void fail(std::string_view action, const std::filesystem::path& path) {
  throw InfrastructureError(
      fmt::format("cannot {} {}: {}", action, path.string(), std::generic_category().message(errno)));
}

// Product of the sizes.
Index elements(std::span<const Index> shape) {
  if (shape.empty()) throw std::invalid_argument("npy: an array needs at least one dimension");
  Index product = 1;
  for (const Index size : shape) {
    if (size < 0 || (product > 0 && size > std::numeric_limits<Index>::max() / product)) {
      throw std::invalid_argument(fmt::format("npy: {} is not a shape", tuple_text(shape)));
    }
    product *= size;
  }
  return product;
}

// Magic, version 1.0, length, and a Python dictionary padded so that the data start at a multiple of 64.
std::string header(std::span<const Index> shape) {
  std::string dictionary =
      fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': {}, }}", tuple_text(shape));
  constexpr std::size_t kPreamble = 10;
  dictionary.append(63 - (kPreamble + dictionary.size()) % 64, ' ');
  dictionary.push_back('\n');
  if (dictionary.size() > std::numeric_limits<std::uint16_t>::max()) {
    throw std::invalid_argument(fmt::format("npy: {} dimensions are too many", shape.size()));
  }
  std::string text("\x93NUMPY\x01\x00", 8);
  text.push_back(static_cast<char>(dictionary.size() & 0xff));
  text.push_back(static_cast<char>(dictionary.size() >> 8));
  return text + dictionary;
}

}  // namespace

NpyWriter::NpyWriter(std::filesystem::path path, std::span<const Index> shape)
    : path_(std::move(path)),
      partial_(fmt::format("{}.{}.partial", path_.string(), getpid())),
      missing_(elements(shape)) {
  const std::string start = header(shape);
  file_.reset(std::fopen(partial_.c_str(), "wb"));
  if (!file_) fail("create", partial_);
  if (std::fwrite(start.data(), 1, start.size(), file_.get()) != start.size()) fail("write", partial_);
}

NpyWriter::~NpyWriter() {
  if (partial_.empty()) return;
  std::error_code ignored;
  std::filesystem::remove(partial_, ignored);
}

void NpyWriter::append(std::span<const float> values) {
  if (std::ssize(values) > missing_) {
    throw std::invalid_argument(
        fmt::format("npy: {} values more than {} holds", std::ssize(values) - missing_, path_.string()));
  }
  if (values.empty()) return;
  if (std::fwrite(values.data(), sizeof(float), values.size(), file_.get()) != values.size())
    fail("write", partial_);
  missing_ -= std::ssize(values);
}

void NpyWriter::finish() {
  if (missing_ > 0) throw std::logic_error(fmt::format("npy: {} lacks {} values", path_.string(), missing_));
  if (!file_) return;  // finished before
  if (std::fclose(file_.release()) != 0) fail("write", partial_);
  if (std::rename(partial_.c_str(), path_.c_str()) != 0) fail("create", path_);
  partial_.clear();
}

void write_npy(const std::filesystem::path& path, std::span<const Index> shape,
               std::span<const float> values) {
  NpyWriter writer(path, shape);
  writer.append(values);
  writer.finish();
}

}  // namespace ringside
