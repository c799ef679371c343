// ZeCO (Chou et al. 2025, "ZeCO: Zero Communication Overhead Sequence Parallelism for Linear Attention"): its
// all-scan, a chain that is pipelined over slices of the state.
#include <fmt/format.h>

#include "distributed/variants/all.h"
#include "distributed/variants/fused_chain.h"

namespace ringside {

Variant make_zeco(int slices) {
  Variant variant = fused_chain(slices);
  variant.summary = fmt::format("ZeCO, the state of lasp_fuse scanned along the ranks in {} slices", slices);
  variant.unsupported = [slices](const Problem& problem, int) -> std::optional<std::string> {
    if (slices <= problem.head_dim) return std::nullopt;
    return fmt::format("a state of head_dim {} cannot be cut into {} slices", problem.head_dim, slices);
  };
  return variant;
}

}  // namespace ringside
