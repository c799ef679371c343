// Ranks as threads of one process: the main test vehicle, for host and device memory alike.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

#include "distributed/comm/communicator.h"

namespace ringside {

struct ThreadGroupOptions {
  /// How long any one wait or barrier may last.
  std::chrono::milliseconds timeout{60000};
  /// Fill receive buffers with NaN when the receive is posted.
  bool poison = false;
  /// Non-zero: deliver as late as a correct program allows, after a pseudo-random time drawn from this seed.
  /// A message then moves only while sender and receiver are both waiting for it, and behind all that their
  /// devices were asked for before, so that a buffer read too early still holds what it held (poison), and
  /// one overwritten too early is sent overwritten. Only a pair
  /// of ranks that for 500 ms has waited for other things is given it nevertheless, as MPI's progress rule
  /// demands.
  std::uint64_t delay_seed = 0;
};

/// Runs body(comm) on `size` threads, one a rank, and returns when all have ended. If a rank throws, the
/// others' waits throw at once, and the exception of the rank that failed first is rethrown.
///
/// A send completes when its receiver has taken the data (as in MPI's rendezvous, so that a program which
/// relies on buffering hangs here too); the receiver copies with Device::peer_copy of its own tensor's
/// device, while in any wait or barrier: no host waits for a device, only for the other rank's host. Waiting
/// ranks sleep. The two tensors of a message must agree in shape, dtype and kind of device: otherwise both
/// ranks' waits throw InfrastructureError naming both tensors. Waits that pass the timeout throw
/// InfrastructureError with a list of what is missing; a rank that then does not come back cannot be ended
/// alone, and a Watchdog ends the process. Throws std::invalid_argument if size < 1.
void run_ranks(int size, const ThreadGroupOptions& options, const std::function<void(Communicator&)>& body);

}  // namespace ringside
