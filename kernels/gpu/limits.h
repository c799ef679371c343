// Limits of the GPU's attention kernels.
#pragma once

namespace ringside {

/// Largest head_dim and value_dim: rows of keys, values and sums lie in registers and shared memory as a
/// whole.
inline constexpr int kMaxDim = 128;

/// Most tokens of a tile.
inline constexpr int kMaxTile = 128;

/// Most bytes of shared memory that a block of threads takes: what an A100 or H100 has, but not the GPUs made
/// for graphics (sm_86, sm_89, sm_120 have 99 KiB).
inline constexpr int kMostSharedBytes = 160 * 1024;

}  // namespace ringside
