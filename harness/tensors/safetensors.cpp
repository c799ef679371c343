#include "harness/tensors/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <tuple>
#include <utility>

#include "harness/base/json.h"
#include "harness/base/text.h"

namespace ringside {
namespace {

constexpr std::string_view kMetadata = "__metadata__";
constexpr std::string_view kDtype = "dtype", kShape = "shape", kOffsets = "data_offsets";

/// Takes the tensors from the parser's events. What the format does not have is refused where it begins, so
/// that nothing is ever nested deeper than the format is.
class HeaderReader final : public nlohmann::json_sax<Json> {
 public:
  explicit HeaderReader(SafetensorsHeader& header) : header_(header) {}

  /// What is wrong with `text`; empty: nothing, and the header is filled. Offsets are those of the file's
  /// text still.
  std::string read(std::string_view text) {
    return Json::sax_parse(text.begin(), text.end(), this) ? "" : why_;
  }

  bool null() override { return unexpected("null"); }
  bool boolean(bool) override { return unexpected("a boolean"); }
  bool number_integer(std::int64_t x) override { return unexpected(fmt::format("{}", x)); }
  bool number_float(double, const std::string& text) override { return unexpected(in_quotes(text)); }
  bool binary(Json::binary_t&) override { return unexpected("binary data"); }

  bool number_unsigned(std::uint64_t x) override {
    if (at_ == At::offsets) {
      offsets_.push_back(x);
      return offsets_.size() <= 2 || refuse(fmt::format("more than two {}", kOffsets));
    }
    if (at_ != At::shape) return unexpected(fmt::format("{}", x));
    if (x > std::uint64_t{std::numeric_limits<Index>::max()})
      return refuse(fmt::format("size {} is too large", x));
    if (tensor_->shape.size() == kMaxSafetensorsDims)
      return refuse(fmt::format("more than {} dimensions", kMaxSafetensorsDims));
    tensor_->shape.push_back(static_cast<Index>(x));
    return true;
  }

  bool string(std::string& x) override {
    if (at_ == At::metadata) return true;
    if (at_ != At::tensor || member_ != kDtype) return unexpected(in_quotes(x));
    tensor_->dtype = std::move(x);
    return true;
  }

  bool start_object(std::size_t) override {
    if (at_ == At::outside) {
      at_ = At::header;
    } else if (at_ != At::header) {
      return unexpected("an object");
    } else if (name_ == kMetadata) {
      at_ = At::metadata;
    } else {
      at_ = At::tensor;
      offsets_.clear();
      members_.clear();
    }
    return true;
  }

  bool start_array(std::size_t) override {
    if (at_ != At::tensor || member_ == kDtype) return unexpected("an array");
    at_ = member_ == kShape ? At::shape : At::offsets;
    return true;
  }

  bool key(std::string& key) override {
    if (at_ == At::header) {
      name_ = std::move(key);
      if (name_ == kMetadata) return !std::exchange(has_metadata_, true) || refuse("it is there twice");
      const auto [place, is_new] = header_.try_emplace(name_);
      tensor_ = &place->second;
      return is_new || refuse("it is there twice");
    }
    if (at_ == At::tensor) {
      member_ = std::move(key);
      if (member_ != kDtype && member_ != kShape && member_ != kOffsets)
        return refuse(fmt::format("it has {}, which no tensor has", in_quotes(member_)));
      if (std::ranges::count(members_, member_) > 0) return refuse(fmt::format("{} is there twice", member_));
      members_.push_back(member_);
    }
    return true;
  }

  bool end_object() override {
    if (at_ == At::tensor) {
      for (const std::string_view member : {kDtype, kShape, kOffsets}) {
        if (std::ranges::count(members_, member) == 0) return refuse(fmt::format("{} is missing", member));
      }
      if (offsets_.size() != 2) return refuse(fmt::format("fewer than two {}", kOffsets));
      tensor_->begin = offsets_[0];
      tensor_->end = offsets_[1];
    }
    at_ = At::header;
    return true;
  }

  bool end_array() override {
    at_ = At::tensor;
    return true;
  }

  bool parse_error(std::size_t byte, const std::string&, const Json::exception&) override {
    if (why_.empty()) why_ = fmt::format("the header is no JSON from its byte {} on", byte);
    return false;
  }

 private:
  enum class At { outside, header, metadata, tensor, shape, offsets };

  bool refuse(std::string_view why) {
    why_ = at_ == At::outside ? std::string(why) : fmt::format("{}: {}", in_quotes(name_), why);
    return false;
  }

  bool unexpected(std::string_view what) {
    const std::string_view expected = at_ == At::outside                         ? "an object of tensors"
                                      : at_ == At::header                        ? "an object"
                                      : at_ == At::metadata || member_ == kDtype ? "a string"
                                      : at_ == At::tensor && member_ == kShape   ? "an array of sizes"
                                      : at_ == At::tensor && member_ == kOffsets
                                          ? "an array of two offsets"
                                          : "a whole number from 0 on, of 64 bits";
    return refuse(fmt::format("{} where {} was expected", what, expected));
  }

  SafetensorsHeader& header_;
  At at_ = At::outside;
  bool has_metadata_ = false;
  SafetensorsEntry* tensor_ = nullptr;  // the one whose name was last
  std::string name_, member_;           // of the header, of the tensor
  std::vector<std::string> members_;    // of the tensor, so far
  std::vector<std::uint64_t> offsets_;  // likewise
  std::string why_;
};

std::optional<StoredType> stored_type(std::string_view dtype) {
  if (dtype == "F64") return StoredType::fp64;
  if (dtype == "F32") return StoredType::fp32;
  if (dtype == "F16") return StoredType::fp16;
  if (dtype == "BF16") return StoredType::bf16;
  return std::nullopt;
}

std::string source_of(std::string_view file_name, std::string_view name) {
  return fmt::format("{}: {}", file_name, in_quotes(name));
}

// Whether each tensor has the bytes that it should, and all together the `bytes` of the file's values.
void require_sizes(const SafetensorsHeader& header, std::uint64_t bytes, std::string_view file_name) {
  for (const auto& [name, tensor] : header) {
    const std::string source = source_of(file_name, name);
    if (tensor.begin > tensor.end || tensor.end > bytes) {
      refuse_file(source, fmt::format("bytes {} to {} of the file's {} bytes of values", tensor.begin,
                                      tensor.end, bytes));
    }
    const std::optional<StoredType> type = stored_type(tensor.dtype);
    if (!type) continue;
    const std::uint64_t expected = StoredArray{.type = *type, .shape = tensor.shape}.bytes(source);
    if (tensor.end - tensor.begin != expected) {
      refuse_file(source,
                  fmt::format("{} bytes of values; expected {} of shape {} and {} bytes a value",
                              tensor.end - tensor.begin, expected, tuple_text(tensor.shape), size_of(*type)));
    }
  }
}

// Whether the tensors' bytes follow each other, from 0 to `bytes`.
void require_contiguous(const SafetensorsHeader& header, std::uint64_t bytes, std::string_view file_name) {
  using Item = SafetensorsHeader::value_type;
  std::vector<const Item*> order;
  for (const Item& item : header) order.push_back(&item);
  std::ranges::sort(order, {},
                    [](const Item* item) { return std::tuple(item->second.begin, item->second.end); });
  const auto refuse_gap = [&](std::uint64_t from, std::uint64_t to) {
    refuse_file(file_name, fmt::format("bytes {} to {} of its values belong to no tensor", from, to));
  };
  std::uint64_t at = 0;
  const Item* before = nullptr;
  for (const Item* item : order) {
    const auto& [name, tensor] = *item;
    if (tensor.begin > at) refuse_gap(at, tensor.begin);
    if (tensor.begin < at) {
      refuse_file(file_name, fmt::format("{} begins at byte {} of the values, within {}, which ends at {}",
                                         in_quotes(name), tensor.begin, in_quotes(before->first), at));
    }
    at = tensor.end;
    before = item;
  }
  if (at < bytes) refuse_gap(at, bytes);
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view start, std::uint64_t file_bytes,
                                           std::string_view file_name) {
  constexpr std::size_t kLengthBytes = 8;
  if (start.size() < kLengthBytes) refuse_file(file_name, "ends within the length of its header");
  const std::uint64_t length = little_endian_number(start.substr(0, kLengthBytes));
  if (length > kMaxSafetensorsHeaderBytes) {
    refuse_file(file_name, fmt::format("no .safetensors file, or a header of {} bytes; expected at most {}",
                                       length, kMaxSafetensorsHeaderBytes));
  }
  const std::string_view text = start.substr(kLengthBytes, length);
  if (text.size() < length) refuse_file(file_name, fmt::format("ends within its header of {} bytes", length));
  if (!text.starts_with('{')) {
    refuse_file(file_name,
                fmt::format("the header begins with {}; expected '{{'", in_quotes(text.substr(0, 8))));
  }
  // The parser would take it for the end, and what follows for nothing.
  if (const std::size_t at = text.find('\0'); at != text.npos)
    refuse_file(file_name, fmt::format("the header is no JSON from its byte {} on", at + 1));
  SafetensorsHeader header;
  if (const std::string wrong = HeaderReader(header).read(text); !wrong.empty())
    refuse_file(file_name, wrong);

  const std::uint64_t values_at = kLengthBytes + length;
  require_sizes(header, file_bytes - values_at, file_name);
  require_contiguous(header, file_bytes - values_at, file_name);
  for (auto& [name, tensor] : header) {
    tensor.begin += values_at;
    tensor.end += values_at;
  }
  return header;
}

StoredArray stored_array(const SafetensorsHeader& header, std::string_view name, std::string_view file_name) {
  const auto found = header.find(name);
  if (found == header.end()) {
    constexpr std::size_t kShown = 12;
    std::string names;
    std::size_t count = 0;
    for (const auto& [other, tensor] : header) {
      if (count++ == kShown) break;
      names += (names.empty() ? "" : ", ") + in_quotes(other);
    }
    refuse_file(file_name, fmt::format("no tensor {}; it holds {}{}", in_quotes(name),
                                       names.empty() ? "none" : names, count > kShown ? ", …" : ""));
  }
  const SafetensorsEntry& tensor = found->second;
  const std::string source = source_of(file_name, name);
  const std::optional<StoredType> type = stored_type(tensor.dtype);
  if (!type) {
    refuse_file(source,
                fmt::format("values of dtype {}; expected F64, F32, F16 or BF16", in_quotes(tensor.dtype)));
  }
  if (tensor.shape.empty() || tensor.shape.size() > kMaxArrayDims) {
    refuse_file(source, fmt::format("{} dimensions; expected 1 to {}", tensor.shape.size(), kMaxArrayDims));
  }
  return {.type = *type, .shape = tensor.shape, .data_at = tensor.begin};
}

SafetensorsHeader read_safetensors_header(const std::filesystem::path& path) {
  const InputFile file(path);
  return parse_safetensors_header(file.start(kSafetensorsStartBytes), file.size(), file.name());
}

ArrayReader open_safetensors(const std::filesystem::path& path, std::string_view name) {
  InputFile file(path);
  StoredArray array =
      stored_array(parse_safetensors_header(file.start(kSafetensorsStartBytes), file.size(), file.name()),
                   name, file.name());
  std::string source = source_of(file.name(), name);
  return ArrayReader(std::move(file), std::move(array), std::move(source));
}

}  // namespace ringside
