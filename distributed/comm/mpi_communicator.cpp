#include "distributed/comm/mpi_communicator.h"

#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "distributed/comm/mpi_calls.h"
#include "distributed/comm/watchdog.h"
#include "kernels/device.h"
#include "reference/error.h"

namespace ringside {
namespace {

/// A message and the host memory that MPI knows it by.
struct Transit {
  Message message;
  std::shared_ptr<std::byte> staged{};  ///< null: the tensor's own memory

  explicit Transit(Message m) : message(std::move(m)) {
    const Tensor& tensor = message.tensor;
    if (tensor.size_bytes() == 0) return;
    Device& device = tensor.device();
    if (device.in_host_memory() || mpi::takes_device_memory()) {
      device.synchronize();
    } else {
      staged = device.host_memory(tensor.size_bytes());
    }
  }
  std::span<std::byte> bytes() const {
    const Tensor& tensor = message.tensor;
    return {staged ? staged.get() : tensor.data(), tensor.size_bytes()};
  }
};

/// The messages of one exchange().
class Operation final : public Request::State {
 public:
  Operation(const std::shared_ptr<mpi::Channel>& channel, std::vector<Message> sends,
            std::vector<Message> receives, std::string label)
      : channel_(channel),
        what_(std::move(label)),
        transits_(std::make_shared<Transits>()),
        requests_(channel, transits_) {
    for (Message& m : receives) {
      const Transit& transit = transits_->receives.emplace_back(std::move(m));
      requests_.receive(transit.message.peer, transit.bytes());
    }
    for (Message& m : sends) {
      const Transit& transit = transits_->sends.emplace_back(std::move(m));
      const Tensor& tensor = transit.message.tensor;
      if (transit.staged) tensor.device().download(tensor, transit.bytes());
      requests_.send(transit.message.peer, transit.bytes());
    }
  }

  void wait() override {
    // left by an exception, whose cause must not wait for peers that may never come
    if (std::uncaught_exceptions() > 0) channel_->lost = true;
    requests_.wait(what_);
    for (const Transit& transit : transits_->receives) {
      const Tensor& tensor = transit.message.tensor;
      if (transit.staged) tensor.device().upload(transit.bytes(), tensor);
    }
  }

 private:
  struct Transits {
    std::vector<Transit> receives{}, sends{};
  };

  std::shared_ptr<mpi::Channel> channel_;
  std::string what_;
  std::shared_ptr<Transits> transits_;
  mpi::Requests requests_;
};

class MpiCommunicator final : public Communicator {
 public:
  explicit MpiCommunicator(std::shared_ptr<mpi::Channel> channel) : channel_(std::move(channel)) {}

  int rank() const override { return channel_->rank; }
  int size() const override { return channel_->size; }

  void barrier() override { mpi::barrier(channel_, "barrier"); }

  std::unique_ptr<Communicator> split(int color, int key) override {
    return std::make_unique<MpiCommunicator>(mpi::split(channel_, color, key));
  }

 private:
  Request start(std::vector<Message> sends, std::vector<Message> receives, std::string label) override {
    return Request(
        std::make_unique<Operation>(channel_, std::move(sends), std::move(receives), std::move(label)));
  }

  std::shared_ptr<mpi::Channel> channel_;
};

}  // namespace

MpiSession::MpiSession(std::chrono::milliseconds timeout) : timeout_(timeout) {
  const Awaiting awaiting("start (MPI_Init)", timeout_);
  int provided = MPI_THREAD_SINGLE;
  RINGSIDE_MPI(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided));
  if (provided < MPI_THREAD_FUNNELED) {
    MPI_Finalize();
    throw InfrastructureError(
        fmt::format("MPI_Init_thread: thread level {} is given, {} (MPI_THREAD_FUNNELED) needed", provided,
                    static_cast<int>(MPI_THREAD_FUNNELED)));
  }
  // MPICH has one of these hear of errors in MPI_Testsome, whatever communicator the messages belong to.
  for (const MPI_Comm comm : {MPI_COMM_WORLD, MPI_COMM_SELF})
    RINGSIDE_MPI(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN));
  int rank = 0, size = 0;
  RINGSIDE_MPI(MPI_Comm_rank(MPI_COMM_WORLD, &rank));
  RINGSIDE_MPI(MPI_Comm_size(MPI_COMM_WORLD, &size));
  watchdog_.tell_of(rank, size);
}

MpiSession::~MpiSession() {
  if (std::uncaught_exceptions() > 0) abort(5);
  Watchdog::tell_no_more();  // mpirun ends the last ones so if one exits with another status than 0
  const Awaiting awaiting("end (MPI_Finalize)", timeout_);
  MPI_Finalize();
}

void MpiSession::abort(int status) {
  std::fflush(nullptr);
  Watchdog::tell_no_more();
  const Awaiting awaiting("end of all ranks (MPI_Abort)", std::chrono::seconds(10));
  MPI_Abort(MPI_COMM_WORLD, status);
  std::_Exit(status);
}

std::optional<std::string> MpiSession::library_version() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  MPI_Get_library_version(text.data(), &length);
  const std::string_view all(text.data(), static_cast<std::size_t>(length));
  return std::string(all.substr(0, all.find_first_of(std::string_view("\n\0", 2))));
}

std::unique_ptr<Communicator> mpi_world(std::chrono::milliseconds timeout) {
  return std::make_unique<MpiCommunicator>(mpi::world(timeout));
}

}  // namespace ringside
