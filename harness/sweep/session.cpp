#include "harness/sweep/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "distributed/comm/mpi_communicator.h"
#include "distributed/comm/nccl_communicator.h"
#include "distributed/comm/watchdog.h"
#include "harness/base/bytes.h"
#include "harness/base/fingerprint.h"
#include "harness/run/device_entry.h"
#include "reference/error.h"

namespace ringside {
namespace {

using Comm = SessionOptions::Comm;

std::chrono::milliseconds timeout_of(const SessionOptions& options) {
  const double seconds = std::min(options.timeout_s, 1e8);  // ten times that fits a clock's nanoseconds
  return std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000));
}

int in_mpi_session(const SessionOptions& options, const std::function<int(const Runner&)>& body) {
  std::optional<UsageError> usage;  // thrown once MPI is finalised: a session left by an exception aborts
  {
    const MpiSession mpi(10 * timeout_of(options));  // machines start slowly
    try {
      const DeviceEntry device = usable_device(options.device);
      Fleet fleet = options.comm == Comm::nccl ? Fleet::of_nccl(timeout_of(options), device.count)
                                               : Fleet::of_mpi(timeout_of(options));
      return body({device, fleet});
    } catch (const UsageError& error) {
      usage = error;
    } catch (const std::exception& error) {
      fmt::print(stderr, "ringside: {}\n", error.what());
      MpiSession::abort(5);
    }
  }
  throw UsageError(*usage);
}

}  // namespace

std::optional<std::string> why_no_nccl(const SessionOptions& options, bool built, bool launched) {
  if (!built) return "--comm nccl: this build is without NCCL";
  if (options.device != "cuda") {
    return fmt::format("--comm nccl: it moves GPUs' memory and needs --device cuda, not {}", options.device);
  }
  if (!launched) return "--comm nccl: needs mpirun or srun: a rank is a process with a GPU of its own";
  return std::nullopt;
}

int in_session(const SessionOptions& options, const std::function<int(const Runner&)>& body) {
  const bool launched = MpiSession::launched_by_mpi();
  if (options.comm == Comm::threads && launched) {
    throw UsageError(
        "--comm threads: started by mpirun, so every process would repeat the same work; leave mpirun out");
  }
  if (options.comm == Comm::nccl) {
    if (const auto why = why_no_nccl(options, built_with_nccl(), launched)) throw UsageError(*why);
    usable_device(options.device);  // whoever cannot be used says so before MPI starts
    try {
      nccl_version();
    } catch (const InfrastructureError& error) {
      throw UsageError(fmt::format("--comm nccl: {}", error.what()));
    }
  }
  if (options.comm == Comm::mpi || options.comm == Comm::nccl ||
      (options.comm == Comm::automatic && launched)) {
    if (options.ranks) throw UsageError("--ranks: under MPI the world is mpirun's");
    return in_mpi_session(options, body);
  }
  const Watchdog watchdog;
  Fleet fleet = Fleet::of_threads(options.ranks, timeout_of(options));
  return body({usable_device(options.device), fleet});
}

void on_root(Fleet& fleet, const std::function<void()>& body) {
  enum class Outcome : char { done, usage, failure };
  Outcome outcome = Outcome::done;
  std::string what;
  if (fleet.is_root()) {
    try {
      body();
    } catch (const UsageError& error) {
      outcome = Outcome::usage;
      what = error.what();
    } catch (const std::exception& error) {
      outcome = Outcome::failure;
      what = error.what();
    }
  }
  std::vector<std::byte> mine;
  append_bytes(mine, outcome);
  append_bytes(mine, std::span<const char>(what));
  const auto all = fleet.processes().all_gather(mine, "outcome of the root's part");
  std::span<const std::byte> root = all[0];
  outcome = take_bytes<Outcome>(root, 1)[0];
  const auto text = take_bytes<char>(root, root.size());
  what.assign(text.begin(), text.end());
  if (outcome == Outcome::usage) throw UsageError(what);
  if (outcome != Outcome::failure) return;
  // The root tells, and ends all.
  if (!fleet.is_root()) fleet.processes().all_gather({}, "the end of the run");
  throw InfrastructureError(what);
}

RunInfo run_info(const Runner& runner) {
  const DeviceEntry& device = runner.device;
  const Fleet& fleet = runner.fleet;
  const bool flushes = device.make({})->flushes_denormals();
  Fingerprint::Fields facts = {{"mpi", MpiSession::library_version().value_or("none")},
                               {"ftz", flushes ? "yes" : "no"}};
  if (device.name != "cpu") facts.emplace_back("device", device.summary);
  if (fleet.communicator() == "nccl") facts.emplace_back("nccl", nccl_version());
  return {.commit = build_commit(),
          .subject = build_commit_subject(),
          .started = utc_now(),
          .machine = machine_fingerprint(facts),
          .communicator = std::string(fleet.communicator()),
          .device = std::string(device.name),
          .world = fleet.world().value_or(0),
          .flushes_denormals = flushes};
}

}  // namespace ringside
