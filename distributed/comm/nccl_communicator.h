// NCCL communicator: MPI processes with a GPU each. nccl_communicator.cpp where the build has it,
// nccl_absent.cpp where it has not.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "distributed/comm/communicator.h"

namespace ringside {

/// Whether this build can use NCCL, if its library is found when the program asks for it.
bool built_with_nccl();

/// "NCCL 2.28.9". Opens the library; throws InfrastructureError if that is not to be had, with the loader's
/// reason.
std::string nccl_version();

/// All processes of the run; needs an MpiSession that outlives it, which carries barriers and what ranks must
/// agree on. `local_rank`: of the process on its node, which decides its GPU as DeviceOptions::local_rank
/// does; NCCL refuses two ranks on one.
///
/// Messages go behind the operations of the tensors' device and beside those that follow; those of one
/// exchange go together, and two exchanges of a rank one after the other. Messages without bytes are left
/// out, so that both ends of a message must agree in size: NCCL does not look. Request::wait() waits until
/// they have arrived and left: a peer that has gone cannot be told from a slow one otherwise. Waits that pass
/// `timeout`, and errors of NCCL's own, throw InfrastructureError with a list of what was under way, after
/// which the communicator is aborted, nothing touches the tensors any more, and later waits throw at once.
std::unique_ptr<Communicator> nccl_world(std::chrono::milliseconds timeout, int local_rank);

}  // namespace ringside
