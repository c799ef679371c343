// What the GPU's kernels are made for.
#pragma once

#include <algorithm>
#include <optional>
#include <string>

#include "reference/dtype.h"
#include "reference/problem.h"

namespace ringside {

/// The largest head_dim and value_dim.
inline constexpr int kMaxDim = 128;

/// DeviceEntry::unsupported of devices that run these kernels.
inline std::optional<std::string> simt_unsupported(const Problem& problem, DType, Math) {
  const Index largest = std::max(problem.head_dim, problem.value_dim);
  if (largest <= kMaxDim) return std::nullopt;
  return "the GPU's kernels have head_dim and value_dim of at most " + std::to_string(kMaxDim) + ", not " +
         std::to_string(largest);
}

}  // namespace ringside
