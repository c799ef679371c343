// Fuzzes the reader of .npy files, in memory.
// What is accepted promises what is there, all of it can be decoded, and a header made from what was
// understood is understood as the same.
#include <span>
#include <string>
#include <vector>

#include "harness/fuzz/fuzz.h"
#include "harness/tensors/npy_reader.h"
#include "harness/testing/npy.h"
#include "reference/error.h"

namespace ringside {
namespace {

std::string canonical(const StoredArray& header) {
  const std::string_view descr = header.type == StoredType::fp16   ? "'<f2'"
                                 : header.type == StoredType::fp32 ? "'<f4'"
                                 : header.type == StoredType::fp64 ? "'<f8'"
                                                                   : "'<u2'";
  std::string shape = "(";
  for (const Index size : header.shape) shape += std::to_string(size) + ",";
  return preamble(dictionary(descr, shape + ")"));
}

bool is_refused(std::string_view file, DType dtype) {
  try {
    parse_npy_header(file.substr(0, kNpyStartBytes), file.size(), kFuzzName, dtype);
    return false;
  } catch (const UsageError& error) {
    check_message(error.what());
    return true;
  }
}

void check(std::string_view file) {
  StoredArray header;
  try {
    header = parse_npy_header(file.substr(0, kNpyStartBytes), file.size(), kFuzzName, DType::bf16);
  } catch (const UsageError& error) {
    check_message(error.what());
    return;
  }
  require(!header.shape.empty() && header.shape.size() <= kMaxArrayDims, "an array has 1 to 4 dimensions");
  for (const Index size : header.shape) require(size >= 0, "sizes are not negative");
  require(header.data_at <= file.size(), "values start in the file");
  const std::string_view stored = file.substr(header.data_at);
  const Index elements = header.elements();
  require(elements >= 0 && elements * size_of(header.type) == std::ssize(stored), "values are all there");
  std::vector<float> values(static_cast<std::size_t>(elements));
  decode(header.type, std::as_bytes(std::span(stored)), values);

  for (const DType dtype : {DType::fp32, DType::fp16}) {
    require(is_refused(file, dtype) == (header.type == StoredType::bf16),
            "bits are bf16 only where that is wanted");
  }
  const std::string again = canonical(header);
  const StoredArray expected{.type = header.type, .shape = header.shape, .data_at = again.size()};
  require(parse_npy_header(again, again.size() + stored.size(), kFuzzName, DType::bf16) == expected,
          "written out and read again it is the same");
}

}  // namespace
}  // namespace ringside

// A file as it is, if it begins as one. Of anything else, what stands before the last '}', and that, is a
// dictionary whose length is put before it: chance would seldom change both together.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view file(reinterpret_cast<const char*>(data), size);
  const std::size_t dictionary = file.rfind('}') + 1;  // 0 if there is none
  if (file.starts_with('\x93') || dictionary == 0) {
    ringside::check(file);
  } else {
    ringside::check(ringside::preamble(file.substr(0, dictionary)).append(file.substr(dictionary)));
  }
  return 0;
}
