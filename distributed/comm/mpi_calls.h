// MPI helpers: checked calls, requests with a deadline, datatypes. Private to the MPI units.
#pragma once

#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ringside::mpi {

/// Throws InfrastructureError with the call's text and MPI's words unless `code` is MPI_SUCCESS.
void check(int code, const char* call);
#define RINGSIDE_MPI(call) ::ringside::mpi::check(call, #call)

/// Whether this MPI sends from and receives into a GPU's memory by itself (CUDA-aware MPI).
bool takes_device_memory();

/// A communicator of MPI's that nobody else uses.
struct Channel {
  MPI_Comm comm = MPI_COMM_NULL;
  int rank = 0;
  int size = 1;
  std::chrono::milliseconds timeout{};
  bool lost = false;  ///< a wait failed: what is under way can no longer be told from what follows

  /// Takes over `c`; errors in it are returned, not fatal.
  Channel(MPI_Comm c, std::chrono::milliseconds t);
  /// Gives the communicator back, unless lost or finalised.
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;
};

/// A channel among all processes of the run.
std::shared_ptr<Channel> world(std::chrono::milliseconds timeout);

/// The channel's processes that gave the same color, ordered by key, then rank: Communicator::split().
std::shared_ptr<Channel> split(const std::shared_ptr<Channel>& channel, int color, int key);

/// Returns when all of the channel's processes have called it: rank 0 hears of each, so that it can name the
/// ones that are missing, and then tells all.
void barrier(const std::shared_ptr<Channel>& channel, std::string_view label);

/// Operations under way on a channel, and the memory they use.
class Requests {
 public:
  /// `buffers` owns all memory that the operations touch; it is never freed if they cannot be finished.
  Requests(std::shared_ptr<Channel> channel, std::shared_ptr<void> buffers)
      : channel_(std::move(channel)), buffers_(std::move(buffers)) {}
  ~Requests();
  Requests(const Requests&) = delete;
  Requests& operator=(const Requests&) = delete;

  /// One message each, of any size.
  void send(int peer, std::span<const std::byte> data);
  void receive(int peer, std::span<std::byte> data);
  /// A sign without content, beside the messages.
  void signal(int peer);
  void await(int peer);

  /// Polls until all is done, giving way to other processes; InfrastructureError at the channel's deadline
  /// or if a message arrived with another size.
  void wait(std::string_view label);

 private:
  enum class Kind { send, receive, signal, await };
  struct Work {
    Kind kind;
    int peer;
    std::size_t bytes;
  };

  MPI_Request& add(Work work);
  bool unfinished() const;
  std::vector<std::string> missing() const;
  void poll(std::string_view label);
  void finish(const Work& work, int code, const MPI_Status& status, std::string_view label) const;

  std::shared_ptr<Channel> channel_;
  std::shared_ptr<void> buffers_;
  std::vector<Work> work_;
  std::vector<MPI_Request> requests_;  // null once done
};

}  // namespace ringside::mpi
