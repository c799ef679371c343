#include "harness/given.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "distributed/layout.h"
#include "harness/grid.h"
#include "harness/npy_reader.h"
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

std::string as_written(const std::array<Index, 4>& shape, Axes axes) {
  const auto& [b, h, n, d] = shape;
  const std::array<Index, 4> written = axes == Axes::bhnd ? std::array{b, h, n, d} : std::array{b, n, h, d};
  return fmt::format("{} as {}", tuple_text(written), axes == Axes::bhnd ? "b,h,n,d" : "b,n,h,d");
}

/// One entry of an axis order: [heads, tokens, dim] <- what the file has of one batch entry.
void to_bhnd(std::span<const float> from, Index heads, Index tokens, Index dim, Axes axes, float* to) {
  if (axes == Axes::bhnd) {
    std::ranges::copy(from, to);
    return;
  }
  for (Index t = 0; t < tokens; ++t) {
    for (Index h = 0; h < heads; ++h) {
      std::copy_n(from.data() + (t * heads + h) * dim, dim, to + (h * tokens + t) * dim);
    }
  }
}

/// Throws unless every value is a number of `dtype`, infinite or NaN. `shape`: of values, [heads, tokens,
/// dim].
void demand_numbers(std::span<const float> values, Index batch, const std::array<Index, 4>& shape,
                    DType dtype, const std::string& source) {
  const auto wrong =
      std::ranges::find_if(values, [&](float x) { return !std::isnan(x) && rounded_to(dtype, x) != x; });
  if (wrong == values.end()) return;
  const Index at = wrong - values.begin(), dim = shape[3], tokens = shape[2];
  refuse_file(
      source,
      fmt::format("{:.9g} at batch {}, head {}, token {}, dim {} is no number of {}: what was computed "
                  "on is not what is here (--dtype says what the implementation was given)",
                  *wrong, batch, at / (dim * tokens), at / dim % tokens, at % dim, to_string(dtype)));
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

GivenTensors::GivenTensors(const std::filesystem::path& directory, std::optional<DType> dtype, Axes axes)
    : directory_(directory), axes_(axes) {
  std::string by_rank;  // the first that is
  for (const std::string_view name : kTensorNames) {
    const auto files = find_tensor(directory, name);
    if (!files) continue;
    Given given = {.files = *files};
    for (std::size_t i = 0; i < files->paths.size(); ++i) {
      const ArrayReader array = files->open(i, dtype.value_or(DType::fp32));
      const std::vector<Index>& s = array.shape();
      if (s.size() != 4) {
        refuse_file(array.source(),
                    fmt::format("shape {}: expected four axes, {}", tuple_text(s),
                                axes == Axes::bhnd ? "batch, head, token, dim" : "batch, token, head, dim"));
      }
      const bool heads_first = axes == Axes::bhnd;
      given.shapes.push_back({s[0], s[heads_first ? 1 : 2], s[heads_first ? 2 : 1], s[3]});
      given.sources.push_back(array.source());
      const auto& [b, h, n, d] = given.shapes.back();
      if (b == 0 || h == 0 || d == 0 || (n == 0 && !files->by_rank))  // a rank may hold no tokens
        refuse_file(array.source(), fmt::format("shape {}: no values", tuple_text(s)));
      if (given_.empty() && i == 0) dtype_ = dtype.value_or(stored_in(array.type()));
    }
    const auto ranks = static_cast<int>(files->paths.size());
    if (files->by_rank && ranks_ != 0 && ranks_ != ranks) {
      refuse_file(given.sources.front(),
                  fmt::format("{} ranks have {}, {} have {}", ranks, name, ranks_, by_rank));
    }
    if (files->by_rank && ranks_ == 0) {
      ranks_ = ranks;
      by_rank = name;
    }
    given_.push_back(std::move(given));
  }
  if (given_.empty()) {
    refuse_file(directory.string(),
                "holds none of q, k, v, do, o, dq, dk, dv (as q.npy, q.rank0.npy … or in "
                "a .safetensors file)");
  }
}

const GivenTensors::Given* GivenTensors::find(std::string_view name) const {
  const auto at = std::ranges::find(given_, name, [](const Given& g) { return g.files.name; });
  return at == given_.end() ? nullptr : &*at;
}

std::vector<Index> GivenTensors::counts(int dp, int sp) const {
  std::vector<Index> counts;
  std::string first;  // whose they are
  for (const Given& given : given_) {
    if (!given.files.by_rank) continue;
    for (int rank = 0; rank < dp * sp; ++rank) {
      const auto at = static_cast<std::size_t>(rank);
      const Index tokens = given.shapes[at][2];
      if (counts.size() < static_cast<std::size_t>(sp)) {
        counts.push_back(tokens);
        first = given.sources[0];
      } else if (const Index expected = counts[at % static_cast<std::size_t>(sp)]; tokens != expected) {
        refuse_file(given.sources[at],
                    fmt::format("shape {}: sequence rank {} has {} tokens there, {} in {}",
                                as_written(given.shapes[at], axes_), rank % sp, tokens, expected, first));
      }
    }
  }
  return counts;
}

std::vector<CaseCell> GivenTensors::sizes(int dp, const std::vector<CaseCell>& known) const {
  struct Size {
    Index value = 0;
    std::string source;
  };
  std::map<std::string_view, Size> sizes;
  const auto learn = [&](std::string_view column, Index value, const std::array<Index, 4>& shape,
                         const std::string& source) {
    const auto [at, is_new] = sizes.try_emplace(column, Size{value, source});
    if (!is_new && at->second.value != value) {
      refuse_file(
          source,
          fmt::format("shape {}: {} {}, but {} in {}{}", as_written(shape, axes_), column, value,
                      at->second.value, at->second.source,
                      axes_ == Axes::bhnd ? " (is the order of axes b,n,h,d? then --axes bnhd)" : ""));
    }
    const CaseCell* const wanted = find_cell(known, column);
    if (wanted && wanted->text != std::to_string(value) && wanted->text != "heads" &&
        wanted->text != "head_dim") {
      refuse_file(source,
                  fmt::format("shape {}: {} {}, but {} has {}", as_written(shape, axes_), column, value,
                              wanted->source.empty() ? "the case" : wanted->source, wanted->text));
    }
  };
  for (const Given& given : given_) {
    const auto columns = columns_of(given.files.name);
    Index tokens = 0;  // over the sequence ranks of the first group
    const auto sp = given.shapes.size() / static_cast<std::size_t>(given.files.by_rank ? dp : 1);
    for (std::size_t i = 0; i < given.shapes.size(); ++i) {
      const auto& shape = given.shapes[i];
      if (i < sp) tokens += shape[2];
      learn(columns[0], shape[0] * (given.files.by_rank ? dp : 1), shape, given.sources[i]);
      learn(columns[1], shape[1], shape, given.sources[i]);
      learn(columns[3], shape[3], shape, given.sources[i]);
    }
    learn(columns[2], tokens, given.shapes[0], given.sources[0]);
  }
  std::vector<CaseCell> cells;
  for (const auto& [column, size] : sizes)
    cells.push_back({std::string(column), std::to_string(size.value), size.source});
  return cells;
}

std::vector<float> GivenTensors::read(std::string_view name, const Case& c, const Tokens& tokens,
                                      bool exact) const {
  const Given& given = *find(name);
  const Index heads = given.shapes[0][1], dim = given.shapes[0][3];
  std::vector<float> all(static_cast<std::size_t>(c.batch * heads * c.seq * dim));
  std::vector<float> file_order, entry;
  for (std::size_t i = 0; i < given.files.paths.size(); ++i) {
    const ArrayReader array = given.files.open(i, c.dtype);
    const auto& shape = given.shapes[i];
    if (const auto& s = array.shape(); s[0] * s[1] * s[2] * s[3] != shape[0] * shape[1] * shape[2] * shape[3])
      refuse_file(array.source(), "has changed while it was read");
    const auto rank = static_cast<int>(i);
    const std::vector<Index>* const own =
        given.files.by_rank ? &tokens[static_cast<std::size_t>(rank % c.sp)] : nullptr;
    if (own && std::ssize(*own) != shape[2]) {
      refuse_file(array.source(),
                  fmt::format("shape {}: sequence rank {} of {} holds {} tokens in this layout",
                              as_written(shape, axes_), rank % c.sp, c.sp, own->size()));
    }
    const auto size = static_cast<std::size_t>(heads * shape[2] * dim);
    file_order.resize(size);
    entry.resize(size);
    for (Index b = 0; b < shape[0]; ++b) {
      const Index changed = array.read(b * static_cast<Index>(size), file_order);
      to_bhnd(file_order, heads, shape[2], dim, axes_, entry.data());
      if (exact && changed > 0) {
        refuse_file(array.source(), fmt::format("{} values of batch entry {} are no numbers of fp32: inputs "
                                                "must be rounded before anything is computed from them",
                                                changed, b));
      }
      if (exact) demand_numbers(entry, b, shape, c.dtype, array.source());
      const Index batch = own ? rank / c.sp + b * c.dp : b;
      for (Index h = 0; h < heads; ++h) {
        float* const head = all.data() + (batch * heads + h) * c.seq * dim;
        const float* row = entry.data() + h * shape[2] * dim;
        for (Index t = 0; t < shape[2]; ++t, row += dim) {
          std::copy_n(row, dim, head + (own ? (*own)[static_cast<std::size_t>(t)] : t) * dim);
        }
      }
    }
  }
  return all;
}

}  // namespace ringside
