// Tensors in files, as tests read, change and write them.
#pragma once

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "harness/base/json.h"
#include "harness/tensors/inputs.h"
#include "harness/tensors/npy.h"
#include "harness/tensors/npy_reader.h"
#include "harness/tensors/tensor_file.h"
#include "harness/testing/npy.h"
#include "harness/testing/program.h"

namespace ringside {

/// A whole array of four axes.
struct Array {
  std::array<Index, 4> shape{};
  std::vector<float> values{};

  float& at(Index b, Index h, Index n, Index d) {
    return values[static_cast<std::size_t>(((b * shape[1] + h) * shape[2] + n) * shape[3] + d)];
  }
};

inline constexpr std::array<const char*, 4> kOutputNames = {"o", "dq", "dk", "dv"};
inline constexpr std::array<const char*, 8> kAllNames = {"q", "k", "v", "do", "o", "dq", "dk", "dv"};

inline Array read_array(const std::filesystem::path& path) {
  const ArrayReader file = open_npy(path, DType::fp32);
  Array array;
  std::ranges::copy(file.shape(), array.shape.begin());
  array.values.resize(static_cast<std::size_t>(file.elements()));
  file.read(0, array.values);
  return array;
}

inline void write_array(const std::filesystem::path& path, const Array& array) {
  write_npy(path, array.shape, array.values);
}

/// Axes 1 and 2 swapped: [b, h, n, d] <-> [b, n, h, d].
inline Array swapped(Array from) {
  Array to = from;
  std::swap(to.shape[1], to.shape[2]);
  for (Index b = 0; b < to.shape[0]; ++b) {
    for (Index i = 0; i < to.shape[1]; ++i) {
      for (Index j = 0; j < to.shape[2]; ++j) {
        for (Index d = 0; d < to.shape[3]; ++d) to.at(b, i, j, d) = from.at(b, j, i, d);
      }
    }
  }
  return to;
}

/// The part with those batch entries and tokens, in that order.
inline Array part_of(Array from, const std::vector<Index>& batches, const std::vector<Index>& tokens) {
  Array to{.shape = {std::ssize(batches), from.shape[1], std::ssize(tokens), from.shape[3]}};
  for (const Index b : batches) {
    for (Index h = 0; h < from.shape[1]; ++h) {
      for (const Index n : tokens) {
        for (Index d = 0; d < from.shape[3]; ++d) to.values.push_back(from.at(b, h, n, d));
      }
    }
  }
  return to;
}

/// The bytes of a .npy file of those values, stored as `descr` has it: '<f2', '<u2' (bf16), '<f4' or '<f8'.
inline std::string npy_bytes(const Array& array, const std::string& descr) {
  const auto& s = array.shape;
  std::string bytes =
      preamble(dictionary("'" + descr + "'", fmt::format("({}, {}, {}, {})", s[0], s[1], s[2], s[3])));
  const auto append = [&](const auto& stored) {
    bytes.append(reinterpret_cast<const char*>(stored.data()), stored.size() * sizeof(stored[0]));
  };
  if (descr == "<f8") {
    append(std::vector<double>(array.values.begin(), array.values.end()));
  } else {
    append(to_storage(array.values, descr == "<u2"   ? DType::bf16
                                    : descr == "<f2" ? DType::fp16
                                                     : DType::fp32));
  }
  return bytes;
}

/// The rows of a results.jsonl.
inline std::vector<Json> rows_in(const std::string& out) {
  std::vector<Json> rows;
  for (const std::string& line : whole_lines(text_of(out + "/results.jsonl")))
    rows.push_back(Json::parse(line));
  return rows;
}

/// A sweep's dump, made once a program and kept to its end.
class SweptDump {
 public:
  explicit SweptDump(const std::string& table) {
    const Outcome sweep =
        ringside("sweep " + folder_.write("cases.csv", table) + " --no-perf --dump " + path());
    EXPECT_EQ(sweep.status, 0) << sweep.out << sweep.err;
    for (const auto& entry : std::filesystem::directory_iterator(path())) cases_.push_back(entry.path());
    std::ranges::sort(cases_);
  }
  std::string path() const { return folder_ / "dump"; }
  std::string table() const { return folder_ / "cases.csv"; }
  /// Its folders, by name.
  const std::vector<std::filesystem::path>& cases() const { return cases_; }
  /// The one whose name begins so.
  std::filesystem::path of(const std::string& name) const {
    for (const auto& path : cases_) {
      if (path.filename().string().starts_with(name)) return path;
    }
    throw std::out_of_range("no case " + name);
  }

 private:
  TempFolder folder_;
  std::vector<std::filesystem::path> cases_;
};

/// Copies those of a folder's tensors, and case.json, into another.
template <std::size_t N>
void copy_tensors(const std::filesystem::path& from, const std::filesystem::path& to,
                  const std::array<const char*, N>& names, bool with_case = true) {
  std::filesystem::create_directories(to);
  constexpr auto kOverwrite = std::filesystem::copy_options::overwrite_existing;
  for (const char* name : names)
    std::filesystem::copy_file(from / fmt::format("{}.npy", name), to / fmt::format("{}.npy", name),
                               kOverwrite);
  if (with_case) std::filesystem::copy_file(from / "case.json", to / "case.json", kOverwrite);
}

}  // namespace ringside
