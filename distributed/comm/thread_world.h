// The world of rank threads: groups, and the operations of their ranks under way. Private to
// thread_communicator.cpp.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "distributed/comm/communicator.h"
#include "distributed/comm/deadline.h"
#include "distributed/comm/thread_communicator.h"
#include "kernels/device.h"

namespace ringside::threads {

class Operation;

/// One end of a message. It lives in its operation; its fields after `tensor` are guarded by World::mutex.
struct End {
  bool sends = false;
  int peer = 0;
  Tensor tensor;
  Operation* operation = nullptr;
  End* partner = nullptr;   ///< the other end, once both are posted
  Clock::time_point due{};  ///< not delivered before
  Event ready{};            ///< nothing that was called before uses the tensor any more
  bool moving = false;      ///< the receiver is asking for the copy
  bool done = false;        ///< it has asked, or there is an error
  Event moved{};            ///< the copy is done
  std::string error{};      ///< why a message that is done was not delivered
};

/// A rank's thread, in whatever group it is talking.
struct Endpoint {
  std::condition_variable changed;
  std::vector<End*> receives;            ///< posted and not done
  bool waits = false;                    ///< in wait() or barrier()
  const Operation* operation = nullptr;  ///< the one it waits for, if any
};

/// What all groups of one run_ranks() share. The mutex guards everything but the data of moving messages.
struct World {
  World(int size, const ThreadGroupOptions& o) : options(o), endpoints(static_cast<std::size_t>(size)) {}

  const ThreadGroupOptions options;
  std::mutex mutex;
  std::vector<Endpoint> endpoints;  // by rank in the world
  int failed_rank = -1;             ///< the first to fail; all waits now throw
  std::exception_ptr cause;         ///< what it threw or, if it caught that itself, what another did

  void wake_all() {
    for (Endpoint& endpoint : endpoints) endpoint.changed.notify_one();
  }
  void fail(int rank, std::exception_ptr exception) {
    const std::lock_guard lock(mutex);
    if (failed_rank < 0) failed_rank = rank;
    if (exception && (!cause || rank == failed_rank)) cause = std::move(exception);
    wake_all();
  }
};

/// From one rank to another.
struct Channel {
  std::deque<End*> sends, receives;  // posted and not yet paired, in that order; one of the two is empty
  std::uint64_t paired = 0;
};

struct Group {
  Group(World& w, std::vector<int> ranks)
      : world(w),
        world_ranks(std::move(ranks)),
        channels(world_ranks.size() * world_ranks.size()),
        arrived(world_ranks.size()),
        colors(world_ranks.size()),
        split(world_ranks.size()) {}

  World& world;
  const std::vector<int> world_ranks;
  std::vector<Channel> channels;                              // [source][destination]
  std::vector<bool> arrived;                                  // at the barrier
  std::uint64_t barriers = 0;                                 // passed so far
  std::vector<std::pair<int, int>> colors;                    // and keys: what each rank gave to split()
  std::vector<std::pair<std::shared_ptr<Group>, int>> split;  // what it got

  int size() const { return static_cast<int>(world_ranks.size()); }
  Endpoint& endpoint(int rank) {
    return world.endpoints[static_cast<std::size_t>(world_ranks[static_cast<std::size_t>(rank)])];
  }
  Channel& channel(int source, int destination) {
    return channels[static_cast<std::size_t>(source * size() + destination)];
  }
};

/// A rank in a group.
struct Member {
  std::shared_ptr<Group> group;
  int rank = 0;

  World& world() const { return group->world; }
  Endpoint& endpoint() const { return group->endpoint(rank); }
  int world_rank() const { return group->world_ranks[static_cast<std::size_t>(rank)]; }

  /// Sleeps until finished(), taking what arrives meanwhile. missing() lists what is waited for.
  void wait(std::unique_lock<std::mutex>& lock, const Operation* operation, std::string_view label,
            const std::function<bool()>& finished,
            const std::function<std::vector<std::string>()>& missing) const;

  /// A barrier whose last rank does `last` before any leaves.
  void meet(std::unique_lock<std::mutex>& lock, std::string_view label,
            const std::function<void()>& last) const;
};

/// The messages of one exchange().
class Operation final : public Request::State {
 public:
  Operation(Member member, std::vector<Message> sends, std::vector<Message> receives, std::string label);
  /// Withdraws what is not done.
  ~Operation() override;

  void wait() override;

  const Member& member() const { return member_; }
  /// An end in words, for an error.
  std::string describe(const End& end) const;

 private:
  Channel& channel(const End& end) const {
    return end.sends ? member_.group->channel(member_.rank, end.peer)
                     : member_.group->channel(end.peer, member_.rank);
  }
  void post(End& end);
  /// What is called from now on comes after the copies of what is done.
  void follow();

  Member member_;
  std::string what_;
  std::vector<End> ends_;
};

}  // namespace ringside::threads
