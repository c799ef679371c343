// Starts this program under mpirun and watches over it.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

namespace ringside {

struct LaunchOptions {
  std::string mpirun = "mpirun";           ///< looked up on PATH unless it holds a slash
  std::vector<std::string> mpirun_args{};  ///< given to mpirun before the program
  std::string program{};                   ///< what each rank runs; empty: this executable
};

/// First argument of every rank that launch() starts, "--launched=WORD": the rank then ends with
/// rank_status(), and set_terminal(WORD) tells it what launch() prints to.
inline constexpr const char* launched_flag = "--launched";

/// mpirun ends with 1 for failures of its own (no slots, unknown option), so a rank's 1…4 travel as 65…68.
constexpr int rank_status(int status) { return status >= 1 && status <= 4 ? 64 + status : status; }

/// Runs `mpirun -n ranks program --launched=WORD program_args…` and returns the status, 0…4, that its ranks
/// agreed on. The ranks' stdin is empty, stdout and stderr are the caller's. Environment variables with which
/// Open MPI works as root, oversubscribed and unbound are set where the user has not set them. mpirun gets a
/// process group of its own; SIGINT, SIGTERM and SIGHUP are handed on to it; it ends if this process dies.
/// Throws UsageError in a build without MPI and for more ranks than cores can carry; InfrastructureError if
/// mpirun cannot be started, fails, a rank is killed or ends with another
/// status, or a signal interrupted the run; std::invalid_argument for ranks < 1.
int launch(int ranks, std::span<const std::string> program_args, const LaunchOptions& options = {});

/// This process's rank as mpirun or srun tells before MPI is initialised; none outside of them.
std::optional<int> environment_rank();

}  // namespace ringside
