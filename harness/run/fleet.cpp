#include "harness/run/fleet.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <set>
#include <vector>

#include "distributed/comm/mpi_communicator.h"
#include "distributed/comm/nccl_communicator.h"
#include "distributed/comm/thread_communicator.h"
#include "harness/base/bytes.h"
#include "harness/base/fingerprint.h"
#include "reference/error.h"

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

/// Between its calls processes compute shares of a reference, which take unequal time: a longer deadline.
ProcessGroup processes_of_the_run(std::chrono::milliseconds timeout) {
  return ProcessGroup::mpi(10 * timeout);
}

}  // namespace

Fleet::Fleet(std::string_view name, std::unique_ptr<Communicator> comm, ProcessGroup processes,
             std::optional<int> world, std::chrono::milliseconds timeout)
    : name_(name),
      comm_(std::move(comm)),
      processes_(std::move(processes)),
      world_(world),
      timeout_(timeout),
      cores_(cores_of_the_run(processes_)),
      neighbours_(processes_.processes_on_this_node()) {}

Fleet Fleet::of_threads(std::optional<int> world, std::chrono::milliseconds timeout, bool hostile) {
  Fleet fleet("threads", nullptr, ProcessGroup::single(), world, timeout);
  fleet.hostile_ = hostile;
  return fleet;
}

Fleet Fleet::of_mpi(std::chrono::milliseconds timeout) {
  auto world = mpi_world(timeout);
  const int size = world->size();
  return {"mpi", std::move(world), processes_of_the_run(timeout), size, timeout};
}

Fleet Fleet::of_nccl(std::chrono::milliseconds timeout, int gpus) {
  ProcessGroup processes = processes_of_the_run(timeout);
  const auto refused = nccl_refusal(processes.processes_on_this_node(), gpus);
  const std::string mine = refused.value_or("");
  for (const auto& of : processes.all_gather(std::as_bytes(std::span(mine)), "GPUs of each process")) {
    std::span<const std::byte> rest = of;
    const auto text = take_bytes<char>(rest, rest.size());
    if (!text.empty()) throw UsageError(std::string(text.begin(), text.end()));
  }
  auto world = nccl_world(timeout, processes.rank_on_this_node());
  const int size = world->size();
  return {"nccl", std::move(world), std::move(processes), size, timeout};
}

std::optional<std::string> nccl_refusal(int ranks, int gpus) {
  if (ranks <= gpus) return std::nullopt;
  return fmt::format(
      "--comm nccl: {} ranks on a node of {} GPUs, and NCCL refuses two ranks on one; take "
      "--comm mpi, or threads without mpirun",
      ranks, gpus);
}

int Fleet::threads_per_process() const { return std::max(1, cores_ / neighbours_); }

bool Fleet::oversubscribed(int ranks, const DeviceEntry& device) const {
  const int here = comm_ ? std::min(ranks, neighbours_) : ranks;
  return here > cores_ || (device.count > 0 && here > device.count);
}

int Fleet::ranks_at_once(const DeviceEntry& device) const {
  int ranks = world_.value_or(cores_);
  while (ranks > 1 && oversubscribed(ranks, device)) --ranks;
  return ranks;
}

void Fleet::run(int ranks, const std::function<void(Communicator&)>& body, bool hostile) {
  const auto decorated = [&](Communicator& world) {
    if (!decorator_) return body(world);
    body(*decorator_(world));
  };
  if (!comm_) {
    hostile = hostile || hostile_;
    run_ranks(ranks, {.timeout = timeout_, .poison = hostile, .delay_seed = hostile ? 1U : 0U}, decorated);
    return;
  }
  const bool runs = comm_->rank() < ranks;
  const auto group = comm_->split(runs ? 0 : 1, comm_->rank());
  if (runs) decorated(*group);
}

}  // namespace ringside
