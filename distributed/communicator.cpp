#include "distributed/communicator.h"

#include <fmt/format.h>

#include <stdexcept>
#include <utility>

namespace ringside {

Pending& Pending::operator=(Pending&& other) noexcept {
  const Pending previous(std::exchange(state_, std::move(other.state_)));
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
  if (const auto state = std::move(state_)) state->wait();
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
  return start(std::move(sends), std::move(receives), std::move(what));
}

}  // namespace ringside
