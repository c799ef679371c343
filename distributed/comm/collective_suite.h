// The part of the communicators' suite that is about collectives.
#pragma once

#include "distributed/comm/communicator.h"

namespace ringside::test {

void all_to_all_gives_each_rank_its_part(Communicator& comm, Device& device);
void all_to_all_among_some_ranks(Communicator& comm, Device& device);
void all_gather_gives_each_rank_all_shares(Communicator& comm, Device& device);
void reduce_scatter_adds_in_the_order_of_ranks(Communicator& comm, Device& device);

}  // namespace ringside::test
