#include "harness/check/provided.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <numeric>

#include "distributed/layout.h"
#include "harness/base/text.h"
#include "harness/tensors/npy_reader.h"
#include "reference/error.h"

namespace ringside {
namespace {

/// The columns that a tensor's axes (batch, head, token, dim) stand for.
std::array<std::string_view, 4> columns_of(std::string_view name) {
  const bool per_kv_head = name.ends_with('k') || name.ends_with('v');
  const bool has_value_dim = name.ends_with('v') || name.ends_with('o');
  return {"batch", per_kv_head ? "kv_heads" : "heads", "seq", has_value_dim ? "value_dim" : "head_dim"};
}

DType stored_in(StoredType type) {
  return type == StoredType::bf16 ? DType::bf16 : type == StoredType::fp16 ? DType::fp16 : DType::fp32;
}

std::string as_written(const Bhnd& shape, Axes axes) {
  std::string letters;
  for (const char letter : to_string(axes)) letters += (letters.empty() ? "" : ",") + std::string(1, letter);
  return fmt::format("{} as {}", tuple_text(from_bhnd(axes, shape)), letters);
}

/// What the axes of a file are to be.
std::string expected_axes(Axes axes, std::size_t there) {
  std::string words;
  for (const char letter : to_string(axes))
    words += fmt::format("{}{}", words.empty() ? "" : ", ", kAxisWords[axis_of(letter)]);
  return fmt::format("expected {} axes, {}{}", axes == Axes::thd ? "three" : "four", words,
                     there == 3 ? "; --axes thd reads token, head, dim" : "");
}

/// Throws unless every value of a row is a number of `dtype`, infinite or NaN. `row`: its batch entry, head
/// and token.
void demand_numbers(std::span<const float> values, const Bhnd& row, DType dtype, const std::string& source) {
  const auto wrong =
      std::ranges::find_if(values, [&](float x) { return !std::isnan(x) && rounded_to(dtype, x) != x; });
  if (wrong == values.end()) return;
  refuse_file(
      source,
      fmt::format("{:.9g} at batch {}, head {}, token {}, dim {} is no number of {}: what was computed "
                  "on is not what is here (--dtype says what the implementation was given)",
                  *wrong, row[0], row[1], row[2], wrong - values.begin(), to_string(dtype)));
}

}  // namespace

Tokens tokens_of(const Case& c, const Layout& layout) {
  Tokens all(static_cast<std::size_t>(c.sp));
  const Problem problem = c.problem();
  for (int rank = 0; rank < c.sp; ++rank) {
    for (const Run& run : positions(layout, problem, c.sp, rank)) {
      for (Index i = 0; i < run.count; ++i) all[static_cast<std::size_t>(rank)].push_back(run.position(i));
    }
  }
  return all;
}

Tokens read_tokens(const std::filesystem::path& path, const std::vector<Index>& counts) {
  const Index seq = std::accumulate(counts.begin(), counts.end(), Index{0});
  const std::vector<Index> positions = read_npy_integers(path, seq);
  std::vector<bool> held(static_cast<std::size_t>(seq));
  for (const Index position : positions) {
    if (position < 0 || position >= seq) {
      refuse_file(path.string(),
                  fmt::format("position {} is not below {}, the tokens of all ranks", position, seq));
    }
    if (held[static_cast<std::size_t>(position)])
      refuse_file(path.string(), fmt::format("position {} is there twice", position));
    held[static_cast<std::size_t>(position)] = true;
  }
  Tokens tokens;
  auto next = positions.begin();
  for (const Index count : counts) {
    tokens.emplace_back(next, next + count);
    next += count;
  }
  return tokens;
}

std::vector<int> holders(const Tokens& tokens) {
  std::size_t seq = 0;
  for (const auto& own : tokens) seq += own.size();
  std::vector<int> of(seq);
  for (std::size_t rank = 0; rank < tokens.size(); ++rank) {
    for (const Index token : tokens[rank]) of[static_cast<std::size_t>(token)] = static_cast<int>(rank);
  }
  return of;
}

ProvidedTensors::ProvidedTensors(const std::filesystem::path& directory, std::optional<DType> dtype,
                                 Axes axes)
    : directory_(directory), axes_(axes) {
  std::string by_rank;  // the first that is
  for (const std::string_view name : kTensorNames) {
    const auto files = find_tensor(directory, name);
    if (!files) continue;
    Provided provided = {.files = *files};
    for (std::size_t i = 0; i < files->paths.size(); ++i) {
      const ArrayReader array = files->open(i, dtype.value_or(DType::fp32));
      const std::vector<Index>& s = array.shape();
      if (s.size() != to_string(axes).size())
        refuse_file(array.source(),
                    fmt::format("shape {}: {}", tuple_text(s), expected_axes(axes, s.size())));
      provided.shapes.push_back(to_bhnd(axes, s));
      provided.sources.push_back(array.source());
      const auto& [b, h, n, d] = provided.shapes.back();
      if (b == 0 || h == 0 || d == 0 || (n == 0 && !files->by_rank))  // a rank may hold no tokens
        refuse_file(array.source(), fmt::format("shape {}: no values", tuple_text(s)));
      if (provided_.empty() && i == 0) dtype_ = dtype.value_or(stored_in(array.type()));
    }
    const auto ranks = static_cast<int>(files->paths.size());
    if (files->by_rank && ranks_ != 0 && ranks_ != ranks) {
      refuse_file(provided.sources.front(),
                  fmt::format("{} ranks have {}, {} have {}", ranks, name, ranks_, by_rank));
    }
    if (files->by_rank && ranks_ == 0) {
      ranks_ = ranks;
      by_rank = name;
    }
    provided_.push_back(std::move(provided));
  }
  if (provided_.empty()) {
    refuse_file(directory.string(),
                "holds none of q, k, v, do, o, dq, dk, dv (as q.npy, q.rank0.npy … or in "
                "a .safetensors file)");
  }
}

const ProvidedTensors::Provided* ProvidedTensors::find(std::string_view name) const {
  const auto at = std::ranges::find(provided_, name, [](const Provided& g) { return g.files.name; });
  return at == provided_.end() ? nullptr : &*at;
}

std::vector<Index> ProvidedTensors::counts(int dp, int sp) const {
  std::vector<Index> counts;
  std::string first;  // whose they are
  for (const Provided& provided : provided_) {
    if (!provided.files.by_rank) continue;
    for (int rank = 0; rank < dp * sp; ++rank) {
      const auto at = static_cast<std::size_t>(rank);
      const Index tokens = provided.shapes[at][2];
      if (counts.size() < static_cast<std::size_t>(sp)) {
        counts.push_back(tokens);
        first = provided.sources[0];
      } else if (const Index expected = counts[at % static_cast<std::size_t>(sp)]; tokens != expected) {
        refuse_file(provided.sources[at],
                    fmt::format("shape {}: sequence rank {} has {} tokens there, {} in {}",
                                as_written(provided.shapes[at], axes_), rank % sp, tokens, expected, first));
      }
    }
  }
  return counts;
}

std::vector<CaseCell> ProvidedTensors::sizes(int dp, const std::vector<CaseCell>& known) const {
  struct Size {
    Index value = 0;
    std::string source;
    bool of_keys = false;  // who said it: k, v, dk or dv
  };
  std::map<std::string_view, Size> sizes;
  bool of_keys = false;  // the tensor that is looked at
  const auto learn = [&](std::string_view column, Index value, const Bhnd& shape, const std::string& source) {
    const auto [at, is_new] = sizes.try_emplace(column, Size{value, source, of_keys});
    if (!is_new && at->second.value != value) {
      const bool lengths = column == "seq" && at->second.of_keys != of_keys;
      refuse_file(source, fmt::format("shape {}: {} {}, but {} in {}{}{}", as_written(shape, axes_), column,
                                      value, at->second.value, at->second.source,
                                      lengths ? "; queries and keys of different lengths are not judged" : "",
                                      axes_ == Axes::bhnd && shape[1] > shape[2]
                                          ? " (is the order of axes b,n,h,d? then --axes bnhd)"
                                          : ""));
    }
    const CaseCell* const wanted = find_cell(known, column);
    if (wanted && wanted->text != std::to_string(value) && wanted->text != "heads" &&
        wanted->text != "head_dim") {
      refuse_file(source,
                  fmt::format("shape {}: {} {}, but {} has {}", as_written(shape, axes_), column, value,
                              wanted->source.empty() ? "the case" : wanted->source, wanted->text));
    }
  };
  for (const Provided& provided : provided_) {
    const auto columns = columns_of(provided.files.name);
    of_keys = columns[1] == "kv_heads";
    Index tokens = 0;  // over the sequence ranks of the first group
    const auto sp = provided.shapes.size() / static_cast<std::size_t>(provided.files.by_rank ? dp : 1);
    for (std::size_t i = 0; i < provided.shapes.size(); ++i) {
      const auto& shape = provided.shapes[i];
      if (i < sp) tokens += shape[2];
      learn(columns[0], shape[0] * (provided.files.by_rank ? dp : 1), shape, provided.sources[i]);
      learn(columns[1], shape[1], shape, provided.sources[i]);
      learn(columns[3], shape[3], shape, provided.sources[i]);
    }
    learn(columns[2], tokens, provided.shapes[0], provided.sources[0]);
  }
  std::vector<CaseCell> cells;
  for (const auto& [column, size] : sizes)
    cells.push_back({std::string(column), std::to_string(size.value), size.source});
  return cells;
}

std::vector<float> ProvidedTensors::read(std::string_view name, const Case& c, const Tokens& tokens,
                                         bool exact) const {
  const Provided& provided = *find(name);
  const Index heads = provided.shapes[0][1], dim = provided.shapes[0][3];
  std::vector<float> all(static_cast<std::size_t>(c.batch * heads * c.seq * dim));
  const std::string_view letters = to_string(axes_);
  std::vector<float> piece;  // what is at one place of the file's first axis
  for (std::size_t i = 0; i < provided.files.paths.size(); ++i) {
    const ArrayReader array = provided.files.open(i, c.dtype);
    const auto& shape = provided.shapes[i];
    const std::vector<Index> sizes = from_bhnd(axes_, shape);
    if (array.shape() != sizes) refuse_file(array.source(), "has changed while it was read");
    const auto rank = static_cast<int>(i);
    const std::vector<Index>* const own =
        provided.files.by_rank ? &tokens[static_cast<std::size_t>(rank % c.sp)] : nullptr;
    if (own && std::ssize(*own) != shape[2]) {
      refuse_file(array.source(),
                  fmt::format("shape {}: sequence rank {} of {} holds {} tokens in this layout (--layout "
                              "FILE says which, a .npy of the position of each token)",
                              as_written(shape, axes_), rank % c.sp, c.sp, own->size()));
    }
    const Index rows = std::accumulate(sizes.begin() + 1, sizes.end() - 1, Index{1}, std::multiplies());
    piece.resize(static_cast<std::size_t>(rows * dim));
    for (Index first = 0; first < sizes[0]; ++first) {
      if (const Index changed = array.read(first * rows * dim, piece); exact && changed > 0) {
        refuse_file(array.source(), fmt::format("{} values at {} {} are no numbers of fp32: inputs must be "
                                                "rounded before anything is computed from them",
                                                changed, kAxisWords[axis_of(letters[0])], first));
      }
      for (Index row = 0; row < rows; ++row) {
        Bhnd at{};  // its place in the file
        at[axis_of(letters[0])] = first;
        Index rest = row;
        for (std::size_t axis = sizes.size() - 2; axis > 0; rest /= sizes[axis--])
          at[axis_of(letters[axis])] = rest % sizes[axis];
        const auto values =
            std::span(piece).subspan(static_cast<std::size_t>(row * dim), static_cast<std::size_t>(dim));
        if (exact) demand_numbers(values, at, c.dtype, array.source());
        const Index batch = own ? rank / c.sp + at[0] * c.dp : at[0];
        const Index token = own ? (*own)[static_cast<std::size_t>(at[2])] : at[2];
        std::ranges::copy(values, all.data() + ((batch * heads + at[1]) * c.seq + token) * dim);
      }
    }
  }
  return all;
}

}  // namespace ringside
