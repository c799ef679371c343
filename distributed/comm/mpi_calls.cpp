#include "distributed/comm/mpi_calls.h"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "distributed/comm/watchdog.h"

namespace ringside::mpi {
namespace {

constexpr int kTag = 0, kSignalTag = 1;

std::string words(int code) {
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, text, &length);
  return {text, static_cast<std::size_t>(length)};
}

/// `bytes` bytes as one element of a datatype, since a count of bytes is an int: blocks that lie end to end.
class ByteType {
 public:
  explicit ByteType(std::size_t bytes) {
    std::vector<int> lengths(bytes / kBlock, static_cast<int>(kBlock));
    if (bytes % kBlock != 0) lengths.push_back(static_cast<int>(bytes % kBlock));
    std::vector<MPI_Aint> starts(lengths.size());
    for (std::size_t i = 0; i < starts.size(); ++i) starts[i] = static_cast<MPI_Aint>(i * kBlock);
    RINGSIDE_MPI(MPI_Type_create_hindexed(static_cast<int>(lengths.size()), lengths.data(), starts.data(),
                                          MPI_BYTE, &type_));
    RINGSIDE_MPI(MPI_Type_commit(&type_));
  }
  ~ByteType() { MPI_Type_free(&type_); }  // MPI keeps it for the messages under way
  ByteType(const ByteType&) = delete;
  ByteType& operator=(const ByteType&) = delete;

  MPI_Datatype get() const { return type_; }

  /// Smaller messages are plain bytes.
  static constexpr std::size_t kBlock = std::size_t{1} << 26;

 private:
  MPI_Datatype type_ = MPI_DATATYPE_NULL;
};

/// Calls `use(count, type)` with a description of `bytes` bytes.
template <typename Use>
void with_type(std::size_t bytes, Use use) {
  if (bytes <= ByteType::kBlock) {
    use(static_cast<int>(bytes), MPI_BYTE);
  } else {
    use(1, ByteType(bytes).get());
  }
}

/// Calls done() until it holds or the deadline passes; false then. MPI moves a message piece by piece inside
/// these calls, so that sleeping between them costs bandwidth; giving way is enough for ranks that share a
/// core.
template <typename Done>
bool poll_until(Clock::time_point deadline, Done done) {
  while (!done()) {
    if (Clock::now() >= deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

}  // namespace

void check(int code, const char* call) {
  if (code != MPI_SUCCESS) throw InfrastructureError(fmt::format("{}: {}", call, words(code)));
}

Channel::Channel(MPI_Comm c, std::chrono::milliseconds t) : comm(c), timeout(t) {
  RINGSIDE_MPI(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN));
  RINGSIDE_MPI(MPI_Comm_rank(comm, &rank));
  RINGSIDE_MPI(MPI_Comm_size(comm, &size));
}

Channel::~Channel() {
  int finalized = 0;
  MPI_Finalized(&finalized);
  const Awaiting awaiting("the end of a group (MPI_Comm_free)", timeout);
  if (!lost && !finalized) MPI_Comm_free(&comm);
}

std::shared_ptr<Channel> world(std::chrono::milliseconds timeout) {
  const auto begin = Clock::now();
  MPI_Comm comm = MPI_COMM_NULL;
  MPI_Request request = MPI_REQUEST_NULL;
  const Awaiting awaiting("start", timeout);
  RINGSIDE_MPI(MPI_Comm_idup(MPI_COMM_WORLD, &comm, &request));
  const bool done = poll_until(begin + timeout, [&] {
    int flag = 0;
    RINGSIDE_MPI(MPI_Test(&request, &flag, MPI_STATUS_IGNORE));
    return flag != 0;
  });
  if (!done) {
    int rank = 0, size = 0;
    RINGSIDE_MPI(MPI_Comm_rank(MPI_COMM_WORLD, &rank));
    RINGSIDE_MPI(MPI_Comm_size(MPI_COMM_WORLD, &size));
    throw deadline_error(rank, size, Clock::now() - begin, "start", {"not all ranks have arrived"});
  }
  return std::make_shared<Channel>(comm, timeout);
}

std::shared_ptr<Channel> split(const std::shared_ptr<Channel>& channel, int color, int key) {
  if (color < 0) throw std::invalid_argument(fmt::format("split: color {} < 0", color));
  barrier(channel, "split");  // it can name who is missing
  const Awaiting awaiting("split (MPI_Comm_split)", channel->timeout);
  MPI_Comm part = MPI_COMM_NULL;
  RINGSIDE_MPI(MPI_Comm_split(channel->comm, color, key, &part));
  return std::make_shared<Channel>(part, channel->timeout);
}

void barrier(const std::shared_ptr<Channel>& channel, std::string_view label) {
  const bool leads = channel->rank == 0;
  Requests arrivals(channel, nullptr), departures(channel, nullptr);
  for (int peer = 1; leads && peer < channel->size; ++peer) arrivals.await(peer);
  if (!leads) arrivals.signal(0);
  arrivals.wait(label);
  for (int peer = 1; leads && peer < channel->size; ++peer) departures.signal(peer);
  if (!leads) departures.await(0);
  departures.wait(label);
}

MPI_Request& Requests::add(Work work) {
  work_.push_back(work);
  return requests_.emplace_back(MPI_REQUEST_NULL);
}

void Requests::send(int peer, std::span<const std::byte> data) {
  with_type(data.size(), [&](int count, MPI_Datatype type) {
    RINGSIDE_MPI(MPI_Isend(data.data(), count, type, peer, kTag, channel_->comm,
                           &add({Kind::send, peer, data.size()})));
  });
}

void Requests::receive(int peer, std::span<std::byte> data) {
  with_type(data.size(), [&](int count, MPI_Datatype type) {
    RINGSIDE_MPI(MPI_Irecv(data.data(), count, type, peer, kTag, channel_->comm,
                           &add({Kind::receive, peer, data.size()})));
  });
}

void Requests::signal(int peer) {
  RINGSIDE_MPI(
      MPI_Isend(nullptr, 0, MPI_BYTE, peer, kSignalTag, channel_->comm, &add({Kind::signal, peer, 0})));
}

void Requests::await(int peer) {
  RINGSIDE_MPI(
      MPI_Irecv(nullptr, 0, MPI_BYTE, peer, kSignalTag, channel_->comm, &add({Kind::await, peer, 0})));
}

bool Requests::unfinished() const {
  return std::ranges::any_of(requests_, [](MPI_Request request) { return request != MPI_REQUEST_NULL; });
}

std::vector<std::string> Requests::missing() const {
  std::vector<std::string> all;
  for (std::size_t i = 0; i < work_.size(); ++i) {
    if (requests_[i] == MPI_REQUEST_NULL) continue;
    const auto& [kind, peer, bytes] = work_[i];
    if (kind == Kind::signal || kind == Kind::await) {
      all.push_back(kind == Kind::signal  ? fmt::format("a sign to rank {}", peer)
                    : channel_->rank == 0 ? fmt::format("rank {} has not arrived", peer)
                                          : fmt::format("rank {} has not told that all arrived", peer));
    } else {
      all.push_back(message_in_words(kind == Kind::send, bytes, peer));
    }
  }
  return all;
}

void Requests::finish(const Work& work, int code, const MPI_Status& status, std::string_view label) const {
  if (work.kind != Kind::receive) return check(code, "MPI_Testsome");
  const auto misfit = [&](const std::string& came) {
    return InfrastructureError(fmt::format("rank {} of {}: '{}': {}, but {} came", channel_->rank,
                                           channel_->size, label,
                                           message_in_words(false, work.bytes, work.peer), came));
  };
  int error_class = MPI_SUCCESS;
  RINGSIDE_MPI(MPI_Error_class(code, &error_class));
  if (error_class == MPI_ERR_TRUNCATE) throw misfit("more");
  check(code, "MPI_Testsome");
  MPI_Count bytes = 0;
  RINGSIDE_MPI(MPI_Get_elements_x(&status, MPI_BYTE, &bytes));
  if (static_cast<std::size_t>(bytes) != work.bytes) throw misfit(fmt::to_string(bytes));
}

void Requests::poll(std::string_view label) {
  int done = 0;
  std::vector<int> indices(requests_.size());
  std::vector<MPI_Status> statuses(requests_.size());
  const int code = MPI_Testsome(static_cast<int>(requests_.size()), requests_.data(), &done, indices.data(),
                                statuses.data());
  if (code != MPI_ERR_IN_STATUS) check(code, "MPI_Testsome");
  for (int i = 0; i < done; ++i) {  // MPI_UNDEFINED, which is negative, if there are none under way
    const auto at = static_cast<std::size_t>(i);
    finish(work_[static_cast<std::size_t>(indices[at])], code == MPI_SUCCESS ? code : statuses[at].MPI_ERROR,
           statuses[at], label);
  }
}

void Requests::wait(std::string_view label) {
  const auto begin = Clock::now();
  const auto patience = channel_->lost ? Clock::duration::zero() : Clock::duration(channel_->timeout);
  Awaiting awaiting(label, patience);
  unsigned polls = 0;
  const auto done = [&] {
    poll(label);
    if (++polls % 1024 == 0) awaiting.missing(missing());
    return !unfinished();
  };
  if (poll_until(begin + patience, done)) return;
  throw deadline_error(channel_->rank, channel_->size, Clock::now() - begin, label, missing());
}

Requests::~Requests() {
  if (!unfinished()) return;
  channel_->lost = true;
  for (std::size_t i = 0; i < requests_.size(); ++i) {
    if (requests_[i] == MPI_REQUEST_NULL) continue;
    if (work_[i].kind == Kind::receive || work_[i].kind == Kind::await) MPI_Cancel(&requests_[i]);
    MPI_Request_free(&requests_[i]);
  }
  static auto& kept = *new std::vector<std::shared_ptr<void>>;  // never destroyed
  kept.push_back(std::move(buffers_));
}

}  // namespace ringside::mpi
