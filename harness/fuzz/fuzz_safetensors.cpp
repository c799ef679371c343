// Fuzzes the reader of .safetensors files, in memory.
// What is accepted has every byte of its values once, what can be asked for can be decoded, and a header made
// from what was understood is understood as the same.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "harness/fuzz/fuzz.h"
#include "harness/tensors/safetensors.h"
#include "harness/testing/safetensors.h"
#include "reference/error.h"

namespace ringside {
namespace {

SafetensorsHeader parse(std::string_view file) {
  return parse_safetensors_header(file.substr(0, kSafetensorsStartBytes), file.size(), kFuzzName);
}

bool is_refused(std::string_view file) {
  try {
    parse(file);
    return false;
  } catch (const UsageError& error) {
    check_message(error.what());
    return true;
  }
}

std::string canonical(const SafetensorsHeader& header, std::uint64_t values_at) {
  nlohmann::json json = nlohmann::json::object();
  for (const auto& [name, tensor] : header) {
    json[name] = {{"dtype", tensor.dtype},
                  {"shape", tensor.shape},
                  {"data_offsets", {tensor.begin - values_at, tensor.end - values_at}}};
  }
  return safetensors(json.dump());
}

// Tensors with their offsets in a file whose values are `by` bytes further on.
SafetensorsHeader moved(SafetensorsHeader header, std::uint64_t by) {
  for (auto& [name, tensor] : header) {
    tensor.begin += by;
    tensor.end += by;
  }
  return header;
}

// Whether the array of this name can be had, and is decoded.
bool is_decoded(const SafetensorsHeader& header, std::string_view name, std::string_view file) {
  StoredArray array;
  try {
    array = stored_array(header, name, kFuzzName);
  } catch (const UsageError& error) {
    check_message(error.what());
    return false;
  }
  require(!array.shape.empty() && array.shape.size() <= kMaxArrayDims, "an array has 1 to 4 dimensions");
  for (const Index size : array.shape) require(size >= 0, "sizes are not negative");
  const std::uint64_t bytes = array.bytes(kFuzzName);
  require(array.data_at <= file.size() && bytes <= file.size() - array.data_at, "it lies in the file");
  std::vector<float> values(static_cast<std::size_t>(array.elements()));
  const Index changed =
      decode(array.type, std::as_bytes(std::span(file)).subspan(array.data_at, bytes), values);
  require(changed >= 0 && changed <= (array.type == StoredType::fp64 ? array.elements() : 0),
          "only fp64 is rounded");
  return true;
}

void check(std::string_view file) {
  SafetensorsHeader header;
  try {
    header = parse(file);
  } catch (const UsageError& error) {
    check_message(error.what());
    return;
  }
  const std::uint64_t values_at = 8 + little_endian_number(file.substr(0, 8));
  std::vector<int> tensors_of(file.size() - values_at);
  for (const auto& [name, tensor] : header) {
    require(tensor.begin >= values_at && tensor.begin <= tensor.end && tensor.end <= file.size(),
            "tensors are in the file");
    for (std::uint64_t at = tensor.begin; at < tensor.end; ++at) ++tensors_of[at - values_at];
    const bool is_known =
        tensor.dtype == "F64" || tensor.dtype == "F32" || tensor.dtype == "F16" || tensor.dtype == "BF16";
    require(is_decoded(header, name, file) ==
                (is_known && !tensor.shape.empty() && tensor.shape.size() <= kMaxArrayDims),
            "the four types, of 1 to 4 dimensions, can be had");
  }
  require(std::ranges::count(tensors_of, 1) == std::ssize(tensors_of), "every byte is one tensor's");
  require(!is_decoded(header, "no such tensor", file) || header.contains("no such tensor"),
          "nothing is made up");
  require(is_refused(std::string(file) + "."), "a byte more belongs to no tensor");
  if (!tensors_of.empty()) require(is_refused(file.substr(0, file.size() - 1)), "a byte less is missed");

  const std::string again = canonical(header, values_at);
  require(parse(again + std::string(file.substr(values_at))) == moved(header, again.size() - values_at),
          "written out and read again it is the same");
}

}  // namespace
}  // namespace ringside

// A file as it is, unless it begins as a header: then what stands before the last '}', and that, is one whose
// length is put before it, for chance would seldom change both together.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view file(reinterpret_cast<const char*>(data), size);
  const std::size_t header = file.rfind('}') + 1;  // 0 if there is none
  if (!file.starts_with('{') || header == 0) {
    ringside::check(file);
  } else {
    ringside::check(ringside::safetensors(file.substr(0, header)).append(file.substr(header)));
  }
  return 0;
}
