// LASP, fused (Sun et al. 2024, "Linear Attention Sequence Parallelism").
#include "distributed/variants/all.h"
#include "distributed/variants/fused_chain.h"

namespace ringside {

Variant make_lasp_fuse() {
  Variant variant = fused_chain(1);
  variant.name = "lasp_fuse";
  variant.summary = "LASP, one kernel pass over the chunk, the state sent ahead of it";
  return variant;
}

}  // namespace ringside
