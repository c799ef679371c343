// Whether MPI may be given addresses in a GPU's memory: Open MPI and its kin say so when they run.
#include "distributed/comm/mpi_calls.h"

#if __has_include(<mpi-ext.h>)
#include <mpi-ext.h>
#endif

namespace ringside::mpi {

bool takes_device_memory() {
#ifdef MPIX_CUDA_AWARE_SUPPORT  // the question can be asked; whether the answer is yes is not its value
  return MPIX_Query_cuda_support() == 1;
#else
  return false;
#endif
}

}  // namespace ringside::mpi
