#include "harness/fleet.h"

#include <algorithm>

#include "distributed/mpi_communicator.h"
#include "distributed/thread_communicator.h"
#include "harness/fingerprint.h"

namespace ringside {

Fleet::Fleet(std::unique_ptr<Communicator> mpi, ProcessGroup processes, std::optional<int> world,
             std::chrono::milliseconds timeout)
    : mpi_(std::move(mpi)),
      processes_(std::move(processes)),
      world_(world),
      timeout_(timeout),
      cores_(usable_cores()),
      neighbours_(processes_.processes_on_this_node()) {}

Fleet Fleet::of_threads(std::optional<int> world, std::chrono::milliseconds timeout, bool hostile) {
  Fleet fleet(nullptr, ProcessGroup::single(), world, timeout);
  fleet.hostile_ = hostile;
  return fleet;
}

Fleet Fleet::of_mpi(std::chrono::milliseconds timeout) {
  auto world = mpi_world(timeout);
  const int size = world->size();
  // between its calls processes compute shares of a reference, which take unequal time: a longer deadline
  return {std::move(world), ProcessGroup::mpi(10 * timeout), size, timeout};
}

int Fleet::threads_per_process() const { return std::max(1, cores_ / neighbours_); }

bool Fleet::oversubscribed(int ranks) const { return (mpi_ ? std::min(ranks, neighbours_) : ranks) > cores_; }

void Fleet::run(int ranks, const std::function<void(Communicator&)>& body) {
  if (!mpi_) {
    run_ranks(ranks, {.timeout = timeout_, .poison = hostile_, .delay_seed = hostile_ ? 1U : 0U}, body);
    return;
  }
  const bool runs = mpi_->rank() < ranks;
  const auto group = mpi_->split(runs ? 0 : 1, mpi_->rank());
  if (runs) body(*group);
}

}  // namespace ringside
