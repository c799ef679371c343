// Where the ranks of a sweep live: threads of this process, or processes under MPI, with or without NCCL.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "distributed/comm/communicator.h"
#include "distributed/comm/process_group.h"
#include "kernels/device.h"

namespace ringside {

/// Why NCCL does not serve so many ranks of a node, if it does not.
std::optional<std::string> nccl_refusal(int ranks, int gpus);

/// The ranks of a run. Under MPI every process holds one rank and makes the same calls in the same order.
class Fleet {
 public:
  /// Ranks as threads of this process: `world` of them, or as many as each case asks for.
  /// hostile: receive buffers are poisoned and messages come as late as they may, so that overlap bugs show.
  static Fleet of_threads(std::optional<int> world, std::chrono::milliseconds timeout, bool hostile = false);
  /// Ranks as MPI processes; MPI is initialised.
  static Fleet of_mpi(std::chrono::milliseconds timeout);
  /// The same, with a GPU each, whose messages go by NCCL. Throws UsageError, in all processes, if two on a
  /// node would have to share one of its `gpus`.
  static Fleet of_nccl(std::chrono::milliseconds timeout, int gpus);

  /// "threads", "mpi" or "nccl".
  std::string_view communicator() const { return name_; }
  /// The most ranks a case may have; empty when each case gets what it asks for.
  std::optional<int> world() const { return world_; }
  ProcessGroup& processes() { return processes_; }
  /// The process that hosts a rank.
  int process_of(int rank) const { return comm_ ? rank : 0; }
  /// Of a rank that this process hosts: DeviceOptions::local_rank.
  int rank_on_node(int rank) const { return comm_ ? processes_.rank_on_this_node() : rank; }
  /// True in the process that prints and writes.
  bool is_root() const { return processes_.rank() == 0; }
  /// Cores that each process may fill when all compute at once.
  int threads_per_process() const;
  /// True if of `ranks` ranks there are more on this node than it has cores, or such devices: ranks that
  /// share a core or a GPU must not be timed against each other.
  bool oversubscribed(int ranks, const DeviceEntry& device) const;
  /// The most ranks that are not oversubscribed, at least 1.
  int ranks_at_once(const DeviceEntry& device) const;
  std::chrono::milliseconds timeout() const { return timeout_; }

  using Decorator = std::function<std::unique_ptr<Communicator>(Communicator& world)>;
  /// From now on run() gives each rank what this makes of its communicator, to plant faults; null: its own.
  void decorate(Decorator decorator) { decorator_ = std::move(decorator); }

  /// Runs body(rank's communicator) on ranks 0..ranks-1; a rank that is a process of its own and not among
  /// them returns at once. hostile: as for of_threads(), this once; MPI and NCCL deliver as they do.
  void run(int ranks, const std::function<void(Communicator&)>& body, bool hostile = false);

 private:
  Fleet(std::string_view name, std::unique_ptr<Communicator> comm, ProcessGroup processes,
        std::optional<int> world, std::chrono::milliseconds timeout);

  std::string_view name_;
  std::unique_ptr<Communicator> comm_;  ///< of all processes; null: ranks are threads
  ProcessGroup processes_;
  std::optional<int> world_;
  std::chrono::milliseconds timeout_;
  bool hostile_ = false;
  Decorator decorator_;
  int cores_ = 1;       ///< of this node, usable by the run
  int neighbours_ = 1;  ///< processes of the run on this node
};

}  // namespace ringside
