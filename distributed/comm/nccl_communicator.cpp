#include "distributed/comm/nccl_communicator.h"

#include <fmt/format.h>
#include <nccl.h>

#include <exception>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "distributed/comm/mpi_calls.h"
#include "distributed/comm/watchdog.h"
#include "kernels/cuda/call.h"
#include "kernels/cuda/shared_library.h"
#include "kernels/cuda/stream.h"
#include "kernels/cuda/streams.h"

namespace ringside {
namespace {

using Words = std::vector<std::string>;

/// The functions of NCCL that are called here, by their own names.
struct NcclFunctions {
// clang-format off
#define RINGSIDE_NCCL_FUNCTIONS(F)                                                                       \
  F(ncclGetVersion) F(ncclGetErrorString) F(ncclGetLastError) F(ncclGetUniqueId)                         \
  F(ncclCommInitRankConfig) F(ncclCommSplit) F(ncclCommGetAsyncError) F(ncclCommFinalize)                \
  F(ncclCommDestroy) F(ncclCommAbort) F(ncclGroupStart) F(ncclGroupEnd) F(ncclSend) F(ncclRecv)
// clang-format on
#define RINGSIDE_DECLARE(function) decltype(&::function) function = nullptr;
  RINGSIDE_NCCL_FUNCTIONS(RINGSIDE_DECLARE)
#undef RINGSIDE_DECLARE
};

NcclFunctions load_functions() {
  const SharedLibrary library("NCCL", {"libnccl.so.2", RINGSIDE_NCCL_PATH});
  NcclFunctions functions;
#define RINGSIDE_LOAD(function) library.load(functions.function, #function);
  RINGSIDE_NCCL_FUNCTIONS(RINGSIDE_LOAD)
#undef RINGSIDE_LOAD
  return functions;
}

/// Opens NCCL at the first call. Throws InfrastructureError with the loader's reason if it is not to be had.
const NcclFunctions& nccl() {
  static const NcclFunctions functions = load_functions();
  return functions;
}

/// A communicator of NCCL's, whose calls do not wait, and the MPI channel of the same ranks.
struct Group {
  std::shared_ptr<mpi::Channel> mpi;
  ncclComm_t comm = nullptr;  ///< null: aborted

  explicit Group(std::shared_ptr<mpi::Channel> channel) : mpi(std::move(channel)) {}
  ~Group() {
    if (comm == nullptr) return;
    if (std::uncaught_exceptions() > 0) {
      give_up();
      return;
    }
    const Awaiting awaiting("the end of a group (ncclCommDestroy)", mpi->timeout);
    nccl().ncclCommFinalize(comm);
    for (ncclResult_t state = ncclInProgress; state == ncclInProgress; std::this_thread::yield()) {
      if (nccl().ncclCommGetAsyncError(comm, &state) != ncclSuccess) break;
    }
    nccl().ncclCommDestroy(comm);
  }
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  /// Ends what is under way: its kernels return, and the communicator is lost.
  void give_up() {
    mpi->lost = true;
    if (comm != nullptr) nccl().ncclCommAbort(std::exchange(comm, nullptr));
  }

  InfrastructureError error(std::string_view label, std::string_view call, ncclResult_t code) const {
    return InfrastructureError(fmt::format("rank {} of {}: '{}': {}: {} ({})", mpi->rank, mpi->size, label,
                                           call, nccl().ncclGetErrorString(code),
                                           nccl().ncclGetLastError(comm)));
  }

  /// Throws unless a call has been taken, if only for later.
  void check(std::string_view label, std::string_view call, ncclResult_t code) {
    if (code == ncclSuccess || code == ncclInProgress) return;
    const InfrastructureError failure = error(label, call, code);
    give_up();
    throw failure;
  }

  /// Returns when NCCL has done what it was called for, as far as the host is concerned, and done() holds.
  /// Gives up and throws at the deadline, and at an error of NCCL's.
  template <typename Done>
  void await(std::string_view label, const Words& missing, const Done& done) {
    const auto begin = Clock::now();
    const auto patience = mpi->lost ? Clock::duration::zero() : Clock::duration(mpi->timeout);
    Awaiting awaiting(label, patience);
    awaiting.missing(missing);
    while (true) {
      if (comm != nullptr) {
        ncclResult_t state = ncclSuccess;
        check(label, "ncclCommGetAsyncError", nccl().ncclCommGetAsyncError(comm, &state));
        check(label, "what is under way", state);
        if (state == ncclSuccess && done()) return;
      }
      if (Clock::now() - begin >= patience) {
        give_up();
        throw deadline_error(mpi->rank, mpi->size, Clock::now() - begin, label, missing);
      }
      std::this_thread::yield();
    }
  }
  void settle(std::string_view label, const Words& missing) {
    await(label, missing, [] { return true; });
  }
};

ncclConfig_t unblocked() {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  return config;
}

/// The messages of one exchange().
class Operation final : public Request::State {
 public:
  Operation(std::shared_ptr<Group> group, std::vector<Message> sends, std::vector<Message> receives,
            std::string label)
      : group_(std::move(group)), what_(std::move(label)) {
    for (const bool sent : {true, false}) {
      for (Message& m : sent ? sends : receives) {
        if (m.tensor.size_bytes() == 0) continue;
        missing_.push_back(message_in_words(sent, m.tensor.size_bytes(), m.peer));
        (sent ? sends_ : receives_).push_back(std::move(m));
      }
    }
    if (missing_.empty()) return;
    try {
      start();
    } catch (const InfrastructureError&) {
      failure_ = std::current_exception();  // for wait()
    }
  }

  void wait() override {
    if (missing_.empty()) return;
    // left by an exception, whose cause must not wait for peers that may never come
    if (std::uncaught_exceptions() > 0) return group_->give_up();
    if (failure_) std::rethrow_exception(failure_);
    group_->await(what_, missing_, [&] {
      const cudaError_t status = cudaEventQuery(done_->get());
      if (status != cudaErrorNotReady) RINGSIDE_CUDA(status);
      return status == cudaSuccess;
    });
  }

 private:
  void start() {
    group_->settle(what_, missing_);  // throws if the group is lost
    const CudaStreams streams = streams_of((sends_.empty() ? receives_ : sends_).front().tensor.device());
    RINGSIDE_CUDA(cudaSetDevice(streams.device));
    const CudaEvent ready(streams.compute);
    RINGSIDE_CUDA(cudaStreamWaitEvent(streams.communication, ready.get()));
    group_->check(what_, "ncclGroupStart", nccl().ncclGroupStart());
    ncclResult_t given = ncclSuccess;  // the first failure; a group that was begun must be ended
    const auto note = [&](ncclResult_t code) {
      if (given == ncclSuccess || given == ncclInProgress) given = code;
    };
    for (const auto& [peer, tensor] : sends_) {
      note(nccl().ncclSend(tensor.data(), tensor.size_bytes(), ncclInt8, peer, group_->comm,
                           streams.communication));
    }
    for (const auto& [peer, tensor] : receives_) {
      note(nccl().ncclRecv(tensor.data(), tensor.size_bytes(), ncclInt8, peer, group_->comm,
                           streams.communication));
    }
    const ncclResult_t ended = nccl().ncclGroupEnd();
    group_->check(what_, "ncclSend or ncclRecv", given);
    group_->check(what_, "ncclGroupEnd", ended);
    group_->settle(what_, missing_);  // on the stream
    done_.emplace(streams.communication);
  }

  std::shared_ptr<Group> group_;
  std::string what_;
  std::vector<Message> sends_, receives_;  // those with bytes
  Words missing_;                          // all of them
  std::optional<CudaEvent> done_;
  std::exception_ptr failure_;
};

class NcclCommunicator final : public Communicator {
 public:
  explicit NcclCommunicator(std::shared_ptr<Group> group) : group_(std::move(group)) {}

  int rank() const override { return group_->mpi->rank; }
  int size() const override { return group_->mpi->size; }

  void barrier() override { mpi::barrier(group_->mpi, "barrier"); }

  std::unique_ptr<Communicator> split(int color, int key) override {
    const auto part = std::make_shared<Group>(mpi::split(group_->mpi, color, key));
    group_->settle("split", {});
    ncclConfig_t config = unblocked();
    group_->check("split", "ncclCommSplit",
                  nccl().ncclCommSplit(group_->comm, color, key, &part->comm, &config));
    group_->settle("split", {});
    part->settle("split", {});
    return std::make_unique<NcclCommunicator>(part);
  }

 private:
  Request start(std::vector<Message> sends, std::vector<Message> receives, std::string label) override {
    return Request(
        std::make_unique<Operation>(group_, std::move(sends), std::move(receives), std::move(label)));
  }

  std::shared_ptr<Group> group_;
};

}  // namespace

bool built_with_nccl() { return true; }

std::string nccl_version() {
  int version = 0;
  const ncclResult_t status = nccl().ncclGetVersion(&version);
  if (status != ncclSuccess)
    throw InfrastructureError(fmt::format("ncclGetVersion: {}", nccl().ncclGetErrorString(status)));
  return fmt::format("NCCL {}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

std::unique_ptr<Communicator> nccl_world(std::chrono::milliseconds timeout, int local_rank) {
  const auto group = std::make_shared<Group>(mpi::world(timeout));
  mpi::Channel& channel = *group->mpi;
  int gpus = 0;
  RINGSIDE_CUDA(cudaGetDeviceCount(&gpus));
  RINGSIDE_CUDA(cudaSetDevice(local_rank % gpus));

  const auto id = std::make_shared<ncclUniqueId>();
  const auto bytes = std::as_writable_bytes(std::span(id->internal));
  mpi::Requests sharing(group->mpi, id);
  if (channel.rank == 0) {
    group->check("start", "ncclGetUniqueId", nccl().ncclGetUniqueId(id.get()));
    for (int peer = 1; peer < channel.size; ++peer) sharing.send(peer, bytes);
  } else {
    sharing.receive(0, bytes);
  }
  sharing.wait("start: NCCL's id");
  ncclConfig_t config = unblocked();
  group->check("start", "ncclCommInitRankConfig",
               nccl().ncclCommInitRankConfig(&group->comm, channel.size, *id, channel.rank, &config));
  group->settle("start (ncclCommInitRankConfig)", {"not all ranks have come"});
  return std::make_unique<NcclCommunicator>(group);
}

}  // namespace ringside
