// Finds a launcher's traces in the environment.
#include <algorithm>
#include <array>
#include <cstdlib>

#include "distributed/comm/mpi_communicator.h"

namespace ringside {

bool MpiSession::launched_by_mpi() {
  // Open MPI; PMI-1 and PMI-2 (MPICH, Intel MPI, srun); PMIx (Open MPI 5, srun); Hydra; MVAPICH2.
  constexpr std::array names{"OMPI_COMM_WORLD_SIZE", "PMI_SIZE",           "PMI_RANK", "PMIX_RANK",
                             "MPI_LOCALNRANKS",      "MV2_COMM_WORLD_SIZE"};
  return std::ranges::any_of(names, [](const char* name) { return std::getenv(name) != nullptr; });
}

}  // namespace ringside
