// Makers of all variants, each defined in the file of its algorithm.
#pragma once

#include "distributed/variant.h"

namespace ringside {

Variant make_lightning();
Variant make_lasp_naive();
Variant make_lasp_cache();
Variant make_lasp_fuse();
Variant make_lasp_fuse_parallel();
Variant make_lasp2();
Variant make_zeco(int slices);

Variant make_ring();
Variant make_ring_zigzag();
Variant make_ring_striped();
Variant make_double_ring(int node);
Variant make_all_gather_kv(int stride);
Variant make_balanced();
Variant make_ulysses(Operator op);
Variant make_usp(int ranks);
Variant make_usp_zigzag(int ranks);
Variant make_usp_striped(int ranks);

}  // namespace ringside
