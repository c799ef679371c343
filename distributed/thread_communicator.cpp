#include "distributed/thread_communicator.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <limits>
#include <mutex>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "distributed/deadline.h"
#include "distributed/rank_threads.h"
#include "kernels/device.h"

namespace ringside {
namespace {

class Operation;

/// One end of a message. It lives in its operation; its fields after `tensor` are guarded by World::mutex.
struct End {
  bool sends = false;
  int peer = 0;
  Tensor tensor;
  Operation* operation = nullptr;
  End* partner = nullptr;   ///< the other end, once both are posted
  Clock::time_point due{};  ///< not delivered before
  bool moving = false;      ///< the receiver is copying
  bool done = false;
  std::string error{};  ///< why a message that is done was not delivered
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

  /// Sleeps until finished(), taking what arrives meanwhile. `missing` lists what is waited for.
  template <typename Finished, typename Missing>
  void wait(std::unique_lock<std::mutex>& lock, const Operation* operation, std::string_view what,
            Finished finished, Missing missing) const;

  /// A barrier whose last rank does `last` before any leaves.
  template <typename Last>
  void meet(std::unique_lock<std::mutex>& lock, std::string_view what, Last last) const;
};

/// The messages of one exchange().
class Operation final : public Pending::State {
 public:
  Operation(Member member, std::vector<Message> sends, std::vector<Message> receives, std::string what)
      : member_(std::move(member)), what_(std::move(what)) {
    for (Message& m : sends) ends_.push_back({true, m.peer, std::move(m.tensor), this});
    for (Message& m : receives) ends_.push_back({false, m.peer, std::move(m.tensor), this});
    const std::lock_guard lock(member_.world().mutex);
    for (End& end : ends_) post(end);
  }
  /// Withdraws what is not done.
  ~Operation() override;

  void wait() override;

  const Member& member() const { return member_; }
  std::string describe(const End& end) const {
    const Shape& s = end.tensor.shape();
    return fmt::format("rank {} in '{}' {} [{}, {}, {}, {}] {}", member_.rank, what_,
                       end.sends ? "sends" : "receives", s.batch, s.heads, s.tokens, s.dim,
                       to_string(end.tensor.dtype()));
  }

 private:
  Channel& channel(const End& end) const {
    return end.sends ? member_.group->channel(member_.rank, end.peer)
                     : member_.group->channel(end.peer, member_.rank);
  }
  void post(End& end);

  Member member_;
  std::string what_;
  std::vector<End> ends_;
};

/// A pseudo-random time of up to 2 ms for a channel's message (the mixing function of SplitMix64: Steele,
/// Lea, Flood 2014).
Clock::duration delay(std::uint64_t seed, int source, int destination, std::uint64_t message) {
  const auto channel = static_cast<std::uint64_t>(source) << 48 | static_cast<std::uint64_t>(destination)
                                                                      << 32;
  std::uint64_t x = seed + (channel | message) * 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return std::chrono::microseconds((x ^ (x >> 31)) % 2000);
}

/// When the waiting receiver may take `receive`, whose sender has posted.
Clock::time_point takeable(const End& receive) {
  if (receive.operation->member().world().options.delay_seed == 0) return Clock::time_point::min();
  const Endpoint& receiver = receive.operation->member().endpoint();
  const Endpoint& sender = receive.partner->operation->member().endpoint();
  if (!sender.waits) return Clock::time_point::max();
  const bool both = sender.operation == receive.partner->operation && receiver.operation == receive.operation;
  return receive.due + std::chrono::milliseconds(both ? 0 : 500);
}

/// Moves one message's data; the caller is its receiver. The copy runs without the lock.
void take(std::unique_lock<std::mutex>& lock, End& receive) {
  End& send = *receive.partner;
  std::exception_ptr failure;
  if (send.tensor.shape() != receive.tensor.shape() || send.tensor.dtype() != receive.tensor.dtype()) {
    send.error = receive.error =
        fmt::format("{}, but {}", send.operation->describe(send), receive.operation->describe(receive));
  } else if (receive.tensor.size_bytes() > 0) {
    send.moving = true;
    lock.unlock();
    try {
      receive.tensor.device().copy(send.tensor, receive.tensor);
      receive.tensor.device().synchronize();
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    send.moving = false;
  }
  send.done = receive.done = !failure;
  std::erase(receive.operation->member().endpoint().receives, &receive);
  send.operation->member().endpoint().changed.notify_one();
  if (failure) std::rethrow_exception(failure);
}

template <typename Finished, typename Missing>
void Member::wait(std::unique_lock<std::mutex>& lock, const Operation* operation, std::string_view what,
                  Finished finished, Missing missing) const {
  Endpoint& self = endpoint();
  const auto begin = Clock::now();
  const auto deadline = begin + world().options.timeout;
  struct Waiting {
    Endpoint& endpoint;
    ~Waiting() { endpoint.waits = false, endpoint.operation = nullptr; }
  } const waiting{self};
  self.waits = true;
  self.operation = operation;
  if (world().options.delay_seed != 0) world().wake_all();  // receivers wait for the sender to wait
  while (!finished()) {
    if (world().failed_rank >= 0) {
      throw InfrastructureError(fmt::format("rank {} of {}: stopped in '{}': rank {} of the run failed", rank,
                                            group->size(), what, world().failed_rank));
    }
    auto next = Clock::time_point::max();
    End* arrived = nullptr;
    for (End* receive : self.receives) {
      if (!receive->partner || takeable(*receive) >= next) continue;
      next = takeable(*receive);
      arrived = receive;
    }
    const auto now = Clock::now();
    if (next <= now) {
      take(lock, *arrived);
    } else if (now >= deadline) {
      throw deadline_error(rank, group->size(), now - begin, what, missing());
    } else {
      self.changed.wait_until(lock, std::min(deadline, next));
    }
  }
}

template <typename Last>
void Member::meet(std::unique_lock<std::mutex>& lock, std::string_view what, Last last) const {
  const std::uint64_t barrier = group->barriers;
  const auto here = group->arrived.begin() + rank;
  *here = true;
  if (std::ranges::count(group->arrived, true) == group->size()) {
    last();
    group->arrived.assign(group->arrived.size(), false);
    ++group->barriers;
    for (int r = 0; r < group->size(); ++r) group->endpoint(r).changed.notify_one();
    return;
  }
  const auto passed = [&] { return group->barriers != barrier; };
  try {
    wait(lock, nullptr, what, passed, [&] {
      std::vector<std::string> missing;
      for (int r = 0; r < group->size(); ++r) {
        if (!group->arrived[static_cast<std::size_t>(r)])
          missing.push_back(fmt::format("rank {} has not arrived", r));
      }
      return missing;
    });
  } catch (...) {
    if (!passed()) *here = false;
    throw;
  }
}

void Operation::post(End& end) {
  auto& mine = end.sends ? channel(end).sends : channel(end).receives;
  auto& theirs = end.sends ? channel(end).receives : channel(end).sends;
  if (!end.sends) member_.endpoint().receives.push_back(&end);
  if (theirs.empty()) {
    mine.push_back(&end);
    return;
  }
  end.partner = theirs.front();
  end.partner->partner = &end;
  theirs.pop_front();
  End& receive = end.sends ? *end.partner : end;
  const Member& receiver = receive.operation->member();
  receive.due = Clock::now() + delay(receiver.world().options.delay_seed, receive.peer, receiver.rank,
                                     channel(end).paired++);
  receiver.endpoint().changed.notify_one();
}

void Operation::wait() {
  // A rank that is failing waits for nobody, and nobody for it.
  if (std::uncaught_exceptions() > 0) return member_.world().fail(member_.world_rank(), nullptr);
  std::unique_lock lock(member_.world().mutex);
  const auto failed = [](const End& end) { return !end.error.empty(); };
  member_.wait(
      lock, this, what_,
      [&] {
        return std::ranges::any_of(ends_, failed) ||
               std::ranges::all_of(ends_, [](const End& e) { return e.done; });
      },
      [&] {
        std::vector<std::string> missing;
        for (const End& end : ends_) {
          if (!end.done) missing.push_back(message_in_words(end.sends, end.tensor.size_bytes(), end.peer));
        }
        return missing;
      });
  const auto wrong = std::ranges::find_if(ends_, failed);
  if (wrong != ends_.end()) throw InfrastructureError(wrong->error);
}

Operation::~Operation() {
  std::unique_lock lock(member_.world().mutex);
  for (End& end : ends_) {
    member_.endpoint().changed.wait(lock, [&] { return !end.moving; });
    if (end.done) continue;
    if (end.partner) {
      end.partner->partner = nullptr;
    } else {
      std::erase(end.sends ? channel(end).sends : channel(end).receives, &end);
    }
    if (!end.sends) std::erase(member_.endpoint().receives, &end);
  }
}

class ThreadCommunicator final : public Communicator {
 public:
  explicit ThreadCommunicator(Member member) : member_(std::move(member)) {}

  int rank() const override { return member_.rank; }
  int size() const override { return member_.group->size(); }

  void barrier() override {
    std::unique_lock lock(member_.world().mutex);
    member_.meet(lock, "barrier", [] {});
  }

  std::unique_ptr<Communicator> split(int color, int key) override {
    if (color < 0) throw std::invalid_argument(fmt::format("split: color {} < 0", color));
    Group& group = *member_.group;
    std::unique_lock lock(group.world.mutex);
    group.colors[static_cast<std::size_t>(rank())] = {color, key};
    member_.meet(lock, "split", [&] { divide(group); });
    auto [part, part_rank] = std::move(group.split[static_cast<std::size_t>(rank())]);
    return std::make_unique<ThreadCommunicator>(Member{std::move(part), part_rank});
  }

 private:
  /// Makes the groups of a split() and hands each rank its own.
  static void divide(Group& group) {
    std::vector<std::size_t> order(group.colors.size());
    std::iota(order.begin(), order.end(), 0u);
    std::ranges::stable_sort(order, {}, [&](std::size_t rank) { return group.colors[rank]; });
    for (auto begin = order.begin(); begin != order.end();) {
      const auto end = std::find_if(
          begin, order.end(), [&](auto r) { return group.colors[r].first != group.colors[*begin].first; });
      std::vector<int> ranks;
      for (auto r = begin; r != end; ++r) ranks.push_back(group.world_ranks[*r]);
      const auto part = std::make_shared<Group>(group.world, std::move(ranks));
      for (auto r = begin; r != end; ++r) group.split[*r] = {part, static_cast<int>(r - begin)};
      begin = end;
    }
  }

  Pending start(std::vector<Message> sends, std::vector<Message> receives, std::string what) override {
    if (member_.world().options.poison) {
      for (const Message& m : receives) {
        if (m.tensor) m.tensor.device().fill(m.tensor, std::numeric_limits<float>::quiet_NaN());
      }
    }
    return Pending(
        std::make_unique<Operation>(member_, std::move(sends), std::move(receives), std::move(what)));
  }

  const Member member_;
};

}  // namespace

void run_ranks(int size, const ThreadGroupOptions& options, const std::function<void(Communicator&)>& body) {
  if (size < 1) throw std::invalid_argument(fmt::format("run_ranks: {} ranks", size));
  World world(size, options);
  std::vector<int> ranks(static_cast<std::size_t>(size));
  std::iota(ranks.begin(), ranks.end(), 0);
  const auto group = std::make_shared<Group>(world, ranks);
  run_rank_threads(
      size, options.timeout,
      [&](int rank) {
        ThreadCommunicator comm(Member{group, rank});
        body(comm);
      },
      [&](int rank, std::exception_ptr exception) { world.fail(rank, std::move(exception)); });
  if (world.cause) std::rethrow_exception(world.cause);
}

}  // namespace ringside
