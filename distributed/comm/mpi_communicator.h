// Ranks as MPI processes.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "distributed/comm/communicator.h"
#include "distributed/comm/watchdog.h"

namespace ringside {

/// MPI from construction to destruction, once a process, in the thread that talks (MPI_THREAD_FUNNELED). Left
/// by an exception it aborts all ranks with status 5: finalising would wait for peers that wait for this
/// rank.
class MpiSession {
 public:
  /// Throws InfrastructureError if MPI cannot be had. Starting and ending MPI may each take `timeout`; then
  /// the process ends with status 5.
  explicit MpiSession(std::chrono::milliseconds timeout = std::chrono::minutes(2));
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  /// True under mpirun, mpiexec or srun: told from the environment, without touching MPI.
  static bool launched_by_mpi();
  /// One line, "Open MPI v4.1.4, …"; empty if this build has none. May be called before there is a session.
  static std::optional<std::string> library_version();
  /// Flushes standard streams and ends all processes of the run. For deadlines and fatal errors.
  [[noreturn]] static void abort(int status);

 private:
  std::chrono::milliseconds timeout_;
  Watchdog watchdog_;
};

/// All processes of the run, on a channel of its own; needs an MpiSession that outlives it. A tensor in host
/// memory is sent and received where it lies, after its device was synchronised; so is one in a GPU's memory,
/// if this MPI says that it can. Any other passes through Device::host_memory(): exchange() waits until what
/// it sends has been downloaded, and Request::wait() has what has arrived uploaded. A message that arrives
/// with another size throws InfrastructureError in the receiver. Waits that pass `timeout` throw
/// InfrastructureError with a list of what is missing, after which the communicator is lost: later waits
/// throw at once, and the tensors of unfinished messages are never freed, since MPI may yet touch them.
std::unique_ptr<Communicator> mpi_world(std::chrono::milliseconds timeout);

}  // namespace ringside
