// Groups of one process, for a build without MPI.
#include <cstdlib>
#include <stdexcept>

#include "distributed/comm/mpi_communicator.h"
#include "distributed/comm/process_group.h"
#include "reference/error.h"

namespace ringside {

MpiSession::MpiSession(std::chrono::milliseconds) {
  throw UsageError("ranks as processes, by --comm or mpirun: this build is without MPI");
}

MpiSession::~MpiSession() = default;

void MpiSession::abort(int status) { std::_Exit(status); }

std::optional<std::string> MpiSession::library_version() { return std::nullopt; }

std::unique_ptr<Communicator> mpi_world(std::chrono::milliseconds) {
  throw std::logic_error("built without MPI");
}

struct ProcessGroup::Mpi {};

ProcessGroup::ProcessGroup(std::shared_ptr<Mpi> mpi) : mpi_(std::move(mpi)) {}

ProcessGroup ProcessGroup::single() { return ProcessGroup(nullptr); }

ProcessGroup ProcessGroup::mpi(std::chrono::milliseconds) { throw std::logic_error("built without MPI"); }

int ProcessGroup::rank() const { return 0; }

int ProcessGroup::size() const { return 1; }

std::vector<ProcessGroup::Bytes> ProcessGroup::all_gather(std::span<const std::byte> mine, std::string_view) {
  return {{mine.begin(), mine.end()}};
}

std::vector<ProcessGroup::Bytes> ProcessGroup::all_to_all(std::vector<Bytes> to, std::string_view) {
  return to;
}

void ProcessGroup::barrier(std::string_view) {}

int ProcessGroup::processes_on_this_node() const { return 1; }

int ProcessGroup::rank_on_this_node() const { return 0; }

}  // namespace ringside
