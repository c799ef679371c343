// A chain of states, sent ahead of one fused pass over the chunk.
#pragma once

#include "distributed/variant.h"

namespace ringside {

/// Lightning attention in which one kernel walks the chunk once and does intra-chunk part, incoming state and
/// state update together. That pass needs the incoming state from its first token on, so that ranks which
/// sent the state it ends with would run one after the other. Here the state that leaves is computed ahead of
/// the pass, from k and v (or q and do) alone: only one product and the hops of the chain come before all
/// ranks' passes, which then run at once.
/// The state travels in `slices` along d, 1 <= slices <= d, each a message, decayed, added and sent on when
/// it arrives: if a whole state takes τ from rank to rank, the last of P ranks has it after
/// τ + (P-2)·τ/slices. Name and summary are the caller's.
Variant fused_chain(int slices);

}  // namespace ringside
