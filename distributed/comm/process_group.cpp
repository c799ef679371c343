#include "distributed/comm/process_group.h"

#include <fmt/format.h>

#include <cstdint>
#include <stdexcept>
#include <utility>

#include "distributed/comm/mpi_calls.h"
#include "distributed/comm/watchdog.h"

namespace ringside {
namespace {

/// One all-to-all under way: everything that MPI touches.
struct Transfer {
  std::vector<ProcessGroup::Bytes> to, from;
  std::vector<std::uint64_t> to_sizes, from_sizes;
};

/// What to[i % to.size()] gives to process i, for all i; the sizes travel first.
std::vector<ProcessGroup::Bytes> transfer(const std::shared_ptr<mpi::Channel>& channel,
                                          std::vector<ProcessGroup::Bytes> to, std::string_view label) {
  const auto size = static_cast<std::size_t>(channel->size);
  const auto self = static_cast<std::size_t>(channel->rank);
  const auto t = std::make_shared<Transfer>(Transfer{std::move(to), {}, {}, {}});
  const auto given_to = [&](std::size_t i) -> const ProcessGroup::Bytes& { return t->to[i % t->to.size()]; };
  t->from.resize(size);
  t->from_sizes.resize(size);
  for (std::size_t i = 0; i < size; ++i) t->to_sizes.push_back(given_to(i).size());

  const auto bytes_of = [](std::uint64_t& x) { return std::as_writable_bytes(std::span(&x, 1)); };
  mpi::Requests sizes(channel, t);
  for (std::size_t i = 0; i < size; ++i) {
    if (i == self) continue;
    sizes.receive(static_cast<int>(i), bytes_of(t->from_sizes[i]));
    sizes.send(static_cast<int>(i), bytes_of(t->to_sizes[i]));
  }
  sizes.wait(label);

  mpi::Requests data(channel, t);
  for (std::size_t i = 0; i < size; ++i) {
    if (i == self) continue;
    t->from[i].resize(t->from_sizes[i]);
    data.receive(static_cast<int>(i), t->from[i]);
  }
  for (std::size_t i = 0; i < size; ++i) {
    if (i != self) data.send(static_cast<int>(i), given_to(i));
  }
  t->from[self] = given_to(self);
  data.wait(label);
  return std::move(t->from);
}

}  // namespace

struct ProcessGroup::Mpi {
  std::shared_ptr<mpi::Channel> channel;
  int on_this_node = 1, rank_on_this_node = 0;
};

ProcessGroup::ProcessGroup(std::shared_ptr<Mpi> mpi) : mpi_(std::move(mpi)) {}

ProcessGroup ProcessGroup::single() { return ProcessGroup(nullptr); }

ProcessGroup ProcessGroup::mpi(std::chrono::milliseconds timeout) {
  const auto channel = mpi::world(timeout);
  mpi::barrier(channel, "start");  // it can name who is missing
  MPI_Comm node = MPI_COMM_NULL;
  const Awaiting awaiting("start (MPI_Comm_split_type)", timeout);
  RINGSIDE_MPI(MPI_Comm_split_type(channel->comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node));
  const mpi::Channel near(node, timeout);
  return ProcessGroup(std::make_shared<Mpi>(Mpi{channel, near.size, near.rank}));
}

int ProcessGroup::rank() const { return mpi_ ? mpi_->channel->rank : 0; }

int ProcessGroup::size() const { return mpi_ ? mpi_->channel->size : 1; }

std::vector<ProcessGroup::Bytes> ProcessGroup::all_gather(std::span<const std::byte> mine,
                                                          std::string_view label) {
  std::vector<Bytes> given{{mine.begin(), mine.end()}};
  if (!mpi_) return given;
  return transfer(mpi_->channel, std::move(given), label);
}

std::vector<ProcessGroup::Bytes> ProcessGroup::all_to_all(std::vector<Bytes> to, std::string_view label) {
  if (to.size() != static_cast<std::size_t>(size())) {
    throw std::invalid_argument(
        fmt::format("'{}': {} entries to send among {} processes", label, to.size(), size()));
  }
  if (!mpi_) return to;
  return transfer(mpi_->channel, std::move(to), label);
}

void ProcessGroup::barrier(std::string_view label) {
  if (mpi_) mpi::barrier(mpi_->channel, label);
}

int ProcessGroup::processes_on_this_node() const { return mpi_ ? mpi_->on_this_node : 1; }

int ProcessGroup::rank_on_this_node() const { return mpi_ ? mpi_->rank_on_this_node : 0; }

}  // namespace ringside
