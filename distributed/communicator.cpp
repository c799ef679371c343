#include "distributed/communicator.h"

#include <fmt/format.h>

#include <stdexcept>
#include <utility>

#include "kernels/device.h"

namespace ringside {

Pending& Pending::operator=(Pending&& other) noexcept {
  Pending previous(std::exchange(state_, std::move(other.state_)));
  previous.waited_ = std::exchange(waited_, other.waited_);
  return *this;
}

Pending::~Pending() {
  try {
    wait();
  } catch (...) {
    // Whoever did not wait does not want to know; the peers' own waits report it.
  }
}

void Pending::wait() {
  const auto state = std::move(state_);
  if (!state) return;
  const auto begin = std::chrono::steady_clock::now();
  state->wait();
  if (waited_) *waited_ += std::chrono::steady_clock::now() - begin;
}

Pending Communicator::exchange(std::vector<Message> sends, std::vector<Message> receives, std::string what) {
  for (const auto* messages : {&sends, &receives}) {
    for (const Message& message : *messages) {
      if (message.peer < 0 || message.peer >= size() || message.peer == rank()) {
        throw std::invalid_argument(
            fmt::format("rank {} of {}: '{}': {} rank {}, which is no other rank of the group", rank(),
                        size(), what, messages == &sends ? "send to" : "receive from", message.peer));
      }
    }
  }
  for (const Message& message : sends)
    traffic_.bytes += static_cast<std::int64_t>(message.tensor.size_bytes());
  traffic_.messages += static_cast<std::int64_t>(sends.size());
  return started(std::move(sends), std::move(receives), std::move(what));
}

Pending Communicator::all_to_all(std::vector<Tensor> sends, std::vector<Tensor> receives, std::string what) {
  if (std::ssize(sends) != size() || std::ssize(receives) != size()) {
    throw std::invalid_argument(fmt::format("rank {} of {}: '{}': an all-to-all of {} sends and {} receives",
                                            rank(), size(), what, sends.size(), receives.size()));
  }
  std::vector<Message> out, in;
  for (int peer = 0; peer < size(); ++peer) {
    Tensor& send = sends[static_cast<std::size_t>(peer)];
    Tensor& receive = receives[static_cast<std::size_t>(peer)];
    if (peer == rank()) {
      if (send.data() != receive.data()) send.device().copy(send, receive);
      continue;
    }
    traffic_.bytes += static_cast<std::int64_t>(send.size_bytes());
    out.push_back({peer, std::move(send)});
    in.push_back({peer, std::move(receive)});
  }
  if (size() > 1) ++traffic_.collectives;
  return started(std::move(out), std::move(in), std::move(what));
}

Pending Communicator::all_gather(const Tensor& send, std::vector<Tensor> receives, std::string what) {
  std::vector<Tensor> sends(static_cast<std::size_t>(size()), send);
  return all_to_all(std::move(sends), std::move(receives), std::move(what));
}

Pending Communicator::started(std::vector<Message> sends, std::vector<Message> receives, std::string what) {
  Pending pending = start(std::move(sends), std::move(receives), std::move(what));
  pending.waited_ = &waited_;
  return pending;
}

}  // namespace ringside
