// A rank for launch_test.cpp. launch_probe [--launched=WORD] COMMAND:
//   exit STATUS    every rank ends with STATUS
//   last STATUS    the last rank ends with STATUS, the others with 0
//   suicide        the last rank kills itself with SIGKILL, the others wait
//   sleep DIR      every rank leaves the files DIR/rank.PID and DIR/mpirun.PARENT and waits
//   read           every rank ends with 0 if its stdin is empty, else 1
//   environment X  every rank ends with 0 if OMPI_MCA_rmaps_base_oversubscribe is X, else 1
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "harness/program/launch.h"

int main(int argc, char** argv) {
  std::vector<std::string> args(argv + 1, argv + argc);
  const bool launched = args.at(0).starts_with(ringside::launched_flag);
  if (launched) args.erase(args.begin());
  const std::string& command = args.at(0);

  MPI_Init(&argc, &argv);
  int rank = 0;
  int size = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  if (ringside::environment_rank() != rank) MPI_Abort(MPI_COMM_WORLD, 5);
  const bool last = rank == size - 1;

  int status = 0;
  if (command == "exit" || (command == "last" && last)) status = std::stoi(args.at(1));
  if (command == "suicide") {
    if (last) std::raise(SIGKILL);
    sleep(600);
  }
  if (command == "sleep") {
    std::ofstream(args.at(1) + "/mpirun." + std::to_string(getppid()));
    std::ofstream(args.at(1) + "/rank." + std::to_string(getpid()));
    sleep(600);
  }
  if (command == "read") {
    char c = 0;
    status = read(STDIN_FILENO, &c, 1) == 0 ? 0 : 1;
  }
  if (command == "environment") {
    const char* value = std::getenv("OMPI_MCA_rmaps_base_oversubscribe");
    status = value != nullptr && value == args.at(1) ? 0 : 1;
  }
  MPI_Finalize();
  return launched ? ringside::rank_status(status) : status;
}
