#include "distributed/comm/thread_world.h"

#include <fmt/format.h>

#include <algorithm>

namespace ringside::threads {
namespace {

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

void make_ready(End& end) {
  if (end.tensor) end.ready = end.tensor.device().now();
}

/// Whether one can be copied to the other.
bool fit(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() &&
         (a.size_bytes() == 0 || a.device().name() == b.device().name());
}

/// Moves one message's data; the caller is its receiver. The copy is asked for without the lock.
void take(std::unique_lock<std::mutex>& lock, End& receive) {
  End& send = *receive.partner;
  std::exception_ptr failure;
  if (!fit(send.tensor, receive.tensor)) {
    send.error = receive.error =
        fmt::format("{}, but {}", send.operation->describe(send), receive.operation->describe(receive));
  } else if (receive.tensor.size_bytes() > 0) {
    send.moving = true;
    Event moved;
    lock.unlock();
    try {
      moved = receive.tensor.device().peer_copy(send.tensor, send.ready, receive.tensor, receive.ready);
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    send.moving = false;
    send.moved = receive.moved = std::move(moved);
  }
  send.done = receive.done = !failure;
  std::erase(receive.operation->member().endpoint().receives, &receive);
  send.operation->member().endpoint().changed.notify_one();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace

void Member::wait(std::unique_lock<std::mutex>& lock, const Operation* operation, std::string_view label,
                  const std::function<bool()>& finished,
                  const std::function<std::vector<std::string>()>& missing) const {
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
                                            group->size(), label, world().failed_rank));
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
      throw deadline_error(rank, group->size(), now - begin, label, missing());
    } else {
      self.changed.wait_until(lock, std::min(deadline, next));
    }
  }
}

void Member::meet(std::unique_lock<std::mutex>& lock, std::string_view label,
                  const std::function<void()>& last) const {
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
    wait(lock, nullptr, label, passed, [&] {
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

Operation::Operation(Member member, std::vector<Message> sends, std::vector<Message> receives,
                     std::string label)
    : member_(std::move(member)), what_(std::move(label)) {
  for (Message& m : sends) ends_.push_back({true, m.peer, std::move(m.tensor), this});
  for (Message& m : receives) ends_.push_back({false, m.peer, std::move(m.tensor), this});
  for (End& end : ends_) make_ready(end);
  const std::lock_guard lock(member_.world().mutex);
  for (End& end : ends_) post(end);
}

std::string Operation::describe(const End& end) const {
  const Shape& s = end.tensor.shape();
  return fmt::format("rank {} in '{}' {} [{}, {}, {}, {}] {}{}{}", member_.rank, what_,
                     end.sends ? "sends" : "receives", s.batch, s.heads, s.tokens, s.dim,
                     to_string(end.tensor.dtype()), end.tensor ? " on " : "",
                     end.tensor ? end.tensor.device().name() : "");
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
  // As late as a correct program allows in the devices' order too: behind all that was called until now.
  for (End& end : ends_) {
    if (member_.world().options.delay_seed != 0 && !end.moving && !end.done) make_ready(end);
  }
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
  lock.unlock();
  follow();
}

void Operation::follow() {
  for (End& end : ends_) {
    if (end.moved) end.tensor.device().after(std::exchange(end.moved, nullptr));
  }
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
  lock.unlock();
  try {
    follow();  // the memory of what was copied nevertheless must not go before
  } catch (...) {
    // A device that fails says so at its next operation.
  }
}

}  // namespace ringside::threads
