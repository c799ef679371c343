// Tensors that another implementation computed, read from a directory.
#pragma once

#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "distributed/layout.h"
#include "harness/cases/case_file.h"
#include "harness/check/commands.h"
#include "harness/tensors/axes.h"
#include "harness/tensors/tensor_file.h"

namespace ringside {

/// The tensors there may be, inputs first.
inline constexpr std::array<std::string_view, 8> kTensorNames = {"q", "k", "v", "do", "o", "dq", "dk", "dv"};

/// Which tokens each sequence rank holds: tokens[r], in its local order. A partition of all.
using Tokens = std::vector<std::vector<Index>>;

/// The tokens of the ranks of a layout.
Tokens tokens_of(const Case& c, const Layout& layout);

/// The tokens that a file gives: a .npy array of whole numbers, one a token, the global position of each:
/// rank 0's tokens in their local order, then rank 1's, … `counts`: tokens of each rank. Throws UsageError
/// "file: message" unless they are a permutation.
Tokens read_tokens(const std::filesystem::path& path, const std::vector<Index>& counts);

/// Sequence rank of each token.
std::vector<int> holders(const Tokens& tokens);

/// The tensors in a directory. It reads headers first; values when they are asked for.
class ProvidedTensors {
 public:
  /// `dtype`: what they are stored in, if one was named. Throws UsageError "file: message": none of
  /// kTensorNames is there, as find_tensor() and TensorFiles::open(), other axes than `axes`, no
  /// values (but for a rank that holds no tokens), files by rank of different numbers of ranks.
  ProvidedTensors(const std::filesystem::path& directory, std::optional<DType> dtype, Axes axes);

  const std::filesystem::path& directory() const { return directory_; }
  bool has(std::string_view name) const { return find(name) != nullptr; }
  /// The dtype that was named; else that of the first tensor there is, fp32 for fp64.
  DType dtype() const { return dtype_; }
  /// What messages call the file that holds a token of sequence rank `sp_rank`, of that batch entry.
  std::string source(std::string_view name, const Case& c, Index batch, int sp_rank) const {
    const Provided& provided = *find(name);
    const auto rank = static_cast<std::size_t>(batch % c.dp * c.sp + sp_rank);
    return provided.sources[provided.files.by_rank ? rank : 0];
  }
  /// Whether it is there by rank.
  bool by_rank(std::string_view name) const {
    const Provided* const provided = find(name);
    return provided && provided->files.by_rank;
  }
  /// Files a tensor that is given by rank; 0: all are whole.
  int ranks() const { return ranks_; }
  /// Tokens of the files of each sequence rank. Needs ranks() = dp·sp. Throws UsageError "file: message" if
  /// two tensors differ.
  std::vector<Index> counts(int dp, int sp) const;
  /// What the shapes say of a case on dp groups, as cells: batch, seq, heads, kv_heads, head_dim, value_dim,
  /// as far as they are known. `known`: cells that they must not contradict. Throws UsageError "file:
  /// message" that names the two files that disagree.
  std::vector<CaseCell> sizes(int dp, const std::vector<CaseCell>& known) const;

  /// All values of a tensor that is there, [b, h, n, dim] as in the problem of `c`, whose sizes are those of
  /// sizes(). Throws UsageError "file: message": a rank's file has other tokens than `tokens`, or cannot be
  /// read. `exact`: also if a value is no number of c.dtype (infinities and NaN are).
  std::vector<float> read(std::string_view name, const Case& c, const Tokens& tokens, bool exact) const;

 private:
  /// A tensor's files and their shapes.
  struct Provided {
    TensorFiles files{};
    std::vector<Bhnd> shapes{};
    std::vector<std::string> sources{};  ///< what messages call each
  };
  const Provided* find(std::string_view name) const;

  std::filesystem::path directory_;
  Axes axes_;
  DType dtype_ = DType::fp32;
  int ranks_ = 0;
  std::vector<Provided> provided_;
};

}  // namespace ringside
