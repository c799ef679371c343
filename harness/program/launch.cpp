#include "harness/program/launch.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <string_view>
#include <system_error>

#include "distributed/comm/mpi_communicator.h"
#include "harness/base/fingerprint.h"
#include "harness/base/process.h"
#include "harness/base/terminal.h"
#include "reference/error.h"

namespace ringside {
namespace {

// NAME=VALUE of ci/mpi.env, with which the tests run too; and Open MPI 4 is silenced, which prints 11 lines
// for each status but 0, and its reasons for failing with them. Open MPI 5 does not let itself be silenced.
constexpr std::array mpi_environment{RINGSIDE_MPI_ENVIRONMENT, "OMPI_MCA_orte_execute_quiet=1"};

/// The ranks' status, or why there is none; `command` is named where only mpirun can tell.
int judge(const Ended& ended, const std::vector<std::string>& command) {
  if (ended.killed_by != 0) {
    throw InfrastructureError(fmt::format("mpirun was killed ({})", signal_name(ended.killed_by)));
  }
  const int code = ended.status;
  if (code == 0) return 0;
  for (int own = 1; own <= 4; ++own) {
    if (code == rank_status(own)) return own;
  }
  int signal = code - 128;
  if (MpiSession::library_version()->starts_with("MPICH")) signal = code;  // hydra tells it bare
  std::string reason;
  if (code == 5) {
    reason = "a rank reported an infrastructure failure";
  } else if (sigabbrev_np(signal) != nullptr && code != 1) {
    reason = fmt::format("a rank was killed ({})", signal_name(signal));
  } else {
    reason = "a failure of its own; Open MPI 4 says which if OMPI_MCA_orte_execute_quiet=0 is set:";
    for (const std::string& word : command) reason += ' ' + word;
  }
  throw InfrastructureError(fmt::format("mpirun ended with status {}: {}", code, reason));
}

}  // namespace

int launch(int ranks, std::span<const std::string> program_args, const LaunchOptions& options) {
  if (ranks < 1) throw std::invalid_argument(fmt::format("launch: {} ranks", ranks));
  if (!MpiSession::library_version()) throw UsageError("launch: this build is without MPI");
  constexpr int kRanksACore = 64;  // they wait for each other by spinning
  if (ranks > kRanksACore * usable_cores()) {
    throw UsageError(fmt::format("launch -n {}: more than {} ranks for each of {} cores", ranks, kRanksACore,
                                 usable_cores()));
  }
  std::vector<std::string> command{options.mpirun};
  command.insert(command.end(), options.mpirun_args.begin(), options.mpirun_args.end());
  command.insert(command.end(), {"-n", std::to_string(ranks)});
  command.push_back(options.program.empty() ? std::filesystem::read_symlink("/proc/self/exe").string()
                                            : options.program);
  command.push_back(fmt::format("{}={}", launched_flag, to_word(terminal())));
  command.insert(command.end(), program_args.begin(), program_args.end());

  try {  // SIGTERM, which mpirun gets if this process dies, makes it end its ranks
    return judge(Supervisor().run(command, {.environment = mpi_environment}), command);
  } catch (const CannotRun& error) {
    throw InfrastructureError(fmt::format(
        "{}; install an MPI (apt-get install openmpi-bin) or name one with --mpirun PATH", error.what()));
  }
}

std::optional<int> environment_rank() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"}) {
    const char* text = std::getenv(name);
    int rank = 0;
    if (text != nullptr && std::from_chars(text, text + std::strlen(text), rank).ec == std::errc{})
      return rank;
  }
  return std::nullopt;
}

}  // namespace ringside
