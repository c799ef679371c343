// What the GPU's kernels of attention are made for.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "reference/dtype.h"
#include "reference/problem.h"

namespace ringside {

/// Largest head_dim and value_dim: rows of keys, values and sums lie in registers and shared memory as a
/// whole.
inline constexpr int kMaxDim = 128;

/// Most tokens of a tile.
inline constexpr int kMaxTile = 128;

/// Most bytes of shared memory that a block of threads takes: what an A100 or H100 has, but not the GPUs made
/// for graphics (sm_86, sm_89, sm_120 have 99 KiB).
inline constexpr int kMostSharedBytes = 160 * 1024;

/// DeviceEntry::unsupported of devices that run these kernels.
inline std::optional<std::string> beyond_kernels(const Problem& problem, DType, Math) {
  for (const auto& [name, dim] :
       {std::pair{"head_dim", problem.head_dim}, {"value_dim", problem.value_dim}}) {
    if (dim > kMaxDim) {
      return std::string(name) + " " + std::to_string(dim) + ": the GPU's kernels take at most " +
             std::to_string(kMaxDim);
    }
  }
  return std::nullopt;
}

}  // namespace ringside
