#include "harness/tensors/tensor_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <set>
#include <system_error>
#include <tuple>
#include <utility>

#include "harness/base/text.h"
#include "harness/cases/case_file.h"
#include "harness/tensors/npy_reader.h"
#include "harness/tensors/safetensors.h"
#include "reference/error.h"

namespace ringside {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kNpy = ".npy", kSafetensors = ".safetensors";

// A file of a directory, "model.rank3.safetensors": what stands before "rank3", 3, and the extension; or, if
// it is no rank's, "model", nothing and the extension.
struct Name {
  std::string text{}, before{}, extension{};
  std::optional<int> rank{};
};

std::optional<Name> parse_name(const fs::path& path) {
  constexpr std::string_view kRank = "rank";
  Name name{.text = path.filename().string(), .before = path.stem().string(), .extension = path.extension()};
  if (name.extension != kNpy && name.extension != kSafetensors) return std::nullopt;
  const std::size_t at = name.before.rfind(kRank);
  if (at == name.before.npos || (at > 0 && name.before[at - 1] != '.')) return name;
  const std::string digits = name.before.substr(at + kRank.size());
  if (digits.empty() || digits.find_first_not_of("0123456789") != digits.npos) return name;
  name.rank = number_in<int>(digits);
  if (!name.rank || *name.rank >= kMaxRanks || digits != std::to_string(*name.rank)) {
    refuse_file(path.string(), fmt::format("rank {}; expected a plain number below {}", digits, kMaxRanks));
  }
  name.before.resize(at);
  return name;
}

// The .npy and .safetensors files of a directory, by rank.
std::vector<Name> names_in(const fs::path& dir) {
  std::vector<Name> names;
  std::error_code error;
  for (fs::directory_iterator at(dir, error), end; !error && at != end; at.increment(error)) {
    if (std::optional<Name> name = parse_name(at->path())) names.push_back(*std::move(name));
  }
  if (error) refuse_file(dir.string(), "cannot read: " + error.message());
  std::ranges::sort(names, {}, [](const Name& name) { return std::tie(name.rank, name.text); });
  return names;
}

// Whether `files`, which are sorted, are those of ranks 0, 1, …
void require_ranks(const fs::path& dir, const std::vector<Name>& files) {
  for (const Name& file : files) {
    if (file.before == files[0].before) continue;
    refuse_file(dir.string(), fmt::format("{} and {}; expected one set of files, the same but for the rank",
                                          files[0].text, file.text));
  }
  const auto gap =
      std::ranges::adjacent_find(files, [](const Name& a, const Name& b) { return *b.rank != *a.rank + 1; });
  const int missing = *files[0].rank > 0 ? 0 : gap == files.end() ? -1 : *gap->rank + 1;
  if (missing < 0) return;
  constexpr std::size_t kShown = 16;
  std::string there;
  for (std::size_t i = 0; i < std::min(files.size(), kShown); ++i)
    there += fmt::format("{}{}", i == 0 ? "" : ", ", *files[i].rank);
  const fs::path path = dir / fmt::format("{}rank{}{}", files[0].before, missing, files[0].extension);
  throw UsageError(
      fmt::format("{} is missing: there are {}{}", path.string(), there, files.size() > kShown ? ", …" : ""));
}

// Whether they hold the tensor: all or none, or the directory is refused.
bool hold(const std::vector<fs::path>& paths, std::string_view name) {
  std::vector<bool> holds;
  for (const fs::path& path : paths) holds.push_back(read_safetensors_header(path).contains(name));
  const auto without = std::ranges::find(holds, false), with = std::ranges::find(holds, true);
  if (without == holds.end() || with == holds.end()) return without == holds.end();
  refuse_file(paths[static_cast<std::size_t>(without - holds.begin())].string(),
              fmt::format("no tensor {}, which {} has", in_quotes(name),
                          paths[static_cast<std::size_t>(with - holds.begin())].filename().string()));
}

}  // namespace

ArrayReader TensorFiles::open(std::size_t i, DType dtype) const {
  const fs::path& path = paths.at(i);
  return path.extension() == kNpy ? open_npy(path, dtype) : open_safetensors(path, name);
}

std::optional<TensorFiles> find_tensor(const fs::path& dir, std::string_view name) {
  const std::vector<Name> names = names_in(dir);
  std::optional<TensorFiles> found;
  for (const std::string_view extension : {kNpy, kSafetensors}) {
    for (const bool by_rank : {false, true}) {
      const std::string npy_before = std::string(name) + (by_rank ? "." : "");
      std::vector<Name> files;
      std::ranges::copy_if(names, std::back_inserter(files), [&](const Name& file) {
        return file.extension == extension && file.rank.has_value() == by_rank &&
               (extension == kSafetensors || file.before == npy_before);
      });
      if (files.empty()) continue;
      if (by_rank) require_ranks(dir, files);
      if (!by_rank && files.size() > 1) {
        refuse_file(dir.string(),
                    fmt::format("{} and {}; expected one .safetensors file", files[0].text, files[1].text));
      }
      TensorFiles here{.name = std::string(name), .by_rank = by_rank};
      for (const Name& file : files) here.paths.push_back(dir / file.text);
      if (extension == kSafetensors && !hold(here.paths, name)) continue;
      if (found) {
        refuse_file(dir.string(), fmt::format("{} is in {} and in {}; expected it once", in_quotes(name),
                                              found->paths[0].filename().string(), files[0].text));
      }
      found = std::move(here);
    }
  }
  return found;
}

std::vector<TensorName> tensors_in(const fs::path& dir) {
  std::vector<TensorName> all;
  std::set<std::string> seen;
  const auto add = [&](std::string name, std::string place) {
    if (!seen.insert(name).second) return;  // other ranks have it too
    all.push_back({std::move(name), std::move(place)});
  };
  for (const Name& file : names_in(dir)) {
    const char* const others = file.rank ? " …" : "";
    if (file.extension == kNpy) {
      const std::string name = file.rank ? file.before.substr(0, file.before.size() - 1) : file.before;
      add(name, file.text + others);
      continue;
    }
    for (const auto& [name, entry] : read_safetensors_header(dir / file.text))
      add(name, fmt::format("{} of {}{}", name, file.text, others));
  }
  return all;
}

ArrayReader open_tensor(const fs::path& dir, std::string_view name, DType dtype) {
  const std::optional<TensorFiles> files = find_tensor(dir, name);
  if (!files) refuse_file(dir.string(), fmt::format("no {0}.npy, and no .safetensors file with '{0}'", name));
  if (files->by_rank) {
    refuse_file(files->paths[0].string(),
                fmt::format("the files of {} ranks; expected '{}' whole", files->paths.size(), name));
  }
  return files->open(0, dtype);
}

}  // namespace ringside
