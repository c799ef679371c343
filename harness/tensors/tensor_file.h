// Where a directory holds somebody's tensors: each in its .npy file, or all in a .safetensors file, and
// either whole or one file a rank.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "harness/tensors/array_reader.h"
#include "reference/dtype.h"

namespace ringside {

/// The files that hold one tensor.
struct TensorFiles {
  std::string name{};
  bool by_rank = false;
  /// By rank: paths[r] is rank r's, and there is one or more. Otherwise: one, with the whole tensor.
  std::vector<std::filesystem::path> paths{};

  /// Opens paths[i]. `dtype`: what the tensor is stored in; of .npy files, those of '<u2' are the bits of
  /// bfloat16 if it is bf16, and refused otherwise; nothing else depends on it. Throws std::out_of_range,
  /// UsageError as open_npy() and open_safetensors().
  ArrayReader open(std::size_t i, DType dtype) const;
};

/// Finds tensor `name` ("q") in `dir`: in q.npy; in q.rank0.npy, q.rank1.npy, …; in the one *.safetensors
/// that there is; or in *.rank0.safetensors, *.rank1.safetensors, … with the same beginning, which may be
/// none (rank0.safetensors). nullopt: in none of them. Tensors of one directory may be found differently.
/// How many ranks there should be, only the caller knows.
/// Throws UsageError "file: message": the tensor is there in more than one of these ways; several
/// .safetensors that each could be meant; a rank is missing between others ("q.rank2.npy is missing: there
/// are 0, 1, 3"), or its .safetensors lacks the tensor; a rank's number is not plain; `dir` cannot be read.
std::optional<TensorFiles> find_tensor(const std::filesystem::path& dir, std::string_view name);

/// A tensor in some file of a directory.
struct TensorName {
  std::string name{};   ///< "lse"
  std::string place{};  ///< "lse.npy", "lse.rank0.npy …", "lse of m.safetensors"
};

/// All that find_tensor() could be asked for in `dir`, by file. Throws UsageError as find_tensor().
std::vector<TensorName> tensors_in(const std::filesystem::path& dir);

/// Opens a tensor that must be there, whole. Throws UsageError as find_tensor() and TensorFiles::open(), or
/// saying what was expected.
ArrayReader open_tensor(const std::filesystem::path& dir, std::string_view name, DType dtype);

}  // namespace ringside
