// Which problems the GPU's kernels of attention do not take.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "kernels/gpu/limits.h"
#include "reference/dtype.h"
#include "reference/problem.h"

namespace ringside {

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
