// LASP, fused (Sun et al. 2024, "Linear Attention Sequence Parallelism").
#include "distributed/fused_chain.h"

namespace ringside {
namespace {

Variant make() {
  Variant variant = fused_chain(1);
  variant.name = "lasp_fuse";
  variant.summary = "LASP, one kernel pass over the chunk, the state sent ahead of it";
  return variant;
}

const Registration lasp_fuse{make()};

}  // namespace
}  // namespace ringside
