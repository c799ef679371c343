#include "harness/fleet.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <set>
#include <vector>

#include "distributed/mpi_communicator.h"
#include "distributed/thread_communicator.h"
#include "harness/bytes.h"
#include "harness/fingerprint.h"

namespace ringside {

namespace {

/// Cores of this node that some process of the run may use: each may be bound to a few of them.
int cores_of_the_run(ProcessGroup& processes) {
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  std::vector<std::byte> mine;
  append_bytes<char>(mine, host);
  append_bytes<int>(mine, usable_core_ids());
  std::set<int> cores;
  for (const auto& of : processes.all_gather(mine, "cores of each process")) {
    std::span<const std::byte> rest = of;
    const auto name = take_bytes<char>(rest, host.size());
    if (!std::ranges::equal(name, host)) continue;
    for (const int core : take_bytes<int>(rest, rest.size() / sizeof(int))) cores.insert(core);
  }
  return std::max(1, static_cast<int>(cores.size()));
}

}  // namespace

Fleet::Fleet(std::unique_ptr<Communicator> mpi, ProcessGroup processes, std::optional<int> world,
             std::chrono::milliseconds timeout)
    : mpi_(std::move(mpi)),
      processes_(std::move(processes)),
      world_(world),
      timeout_(timeout),
      cores_(cores_of_the_run(processes_)),
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

void Fleet::run(int ranks, const std::function<void(Communicator&)>& body, bool hostile) {
  const auto decorated = [&](Communicator& world) {
    if (!decorator_) return body(world);
    body(*decorator_(world));
  };
  if (!mpi_) {
    hostile = hostile || hostile_;
    run_ranks(ranks, {.timeout = timeout_, .poison = hostile, .delay_seed = hostile ? 1U : 0U}, decorated);
    return;
  }
  const bool runs = mpi_->rank() < ranks;
  const auto group = mpi_->split(runs ? 0 : 1, mpi_->rank());
  if (runs) decorated(*group);
}

}  // namespace ringside
