// Host bytes between the processes of a run: for the harness, not for the algorithms under test.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace ringside {

/// The processes of a run. One process (ranks are threads, or there is no MPI) needs no MPI. Copies share the
/// group. All calls are made by all processes in the same order; each has the group's deadline and throws
/// InfrastructureError when it passes. `label` names the operation in that error. Not counted as traffic.
class ProcessGroup {
 public:
  using Bytes = std::vector<std::byte>;

  /// This process alone.
  static ProcessGroup single();
  /// All processes of the run; needs an MpiSession that outlives it.
  static ProcessGroup mpi(std::chrono::milliseconds timeout);

  int rank() const;
  int size() const;

  /// What each process gave, by rank. Sizes may differ.
  std::vector<Bytes> all_gather(std::span<const std::byte> mine, std::string_view label);
  /// to[i] goes to process i; returns what came from each. Sizes may differ and be of any magnitude.
  /// Throws std::invalid_argument unless there is one entry a process.
  std::vector<Bytes> all_to_all(std::vector<Bytes> to, std::string_view label);
  /// Returns when every process has called it.
  void barrier(std::string_view label);
  /// Processes that share memory with this one, itself included, and its rank among them.
  int processes_on_this_node() const;
  int rank_on_this_node() const;

 private:
  struct Mpi;
  explicit ProcessGroup(std::shared_ptr<Mpi> mpi);

  std::shared_ptr<Mpi> mpi_;  // null: this process alone
};

}  // namespace ringside
