#include "distributed/comm/communicator.h"

#include <fmt/format.h>

#include <stdexcept>
#include <utility>

#include "kernels/device.h"

namespace ringside {

Request& Request::operator=(Request&& other) noexcept {
  const Request previous(std::exchange(state_, std::move(other.state_)));
  return *this;
}

Request::~Request() {
  try {
    wait();
  } catch (...) {
    // Whoever did not wait does not want to know; the peers' own waits report it.
  }
}

void Request::wait() {
  const auto state = std::move(state_);
  if (!state) return;
  state->wait();
}

Request Communicator::exchange(std::vector<Message> sends, std::vector<Message> receives, std::string label) {
  for (const auto* messages : {&sends, &receives}) {
    for (const Message& message : *messages) {
      if (message.peer < 0 || message.peer >= size() || message.peer == rank()) {
        throw std::invalid_argument(
            fmt::format("rank {} of {}: '{}': {} rank {}, which is no other rank of the group", rank(),
                        size(), label, messages == &sends ? "send to" : "receive from", message.peer));
      }
    }
  }
  for (const Message& message : sends)
    traffic_.bytes += static_cast<std::int64_t>(message.tensor.size_bytes());
  traffic_.messages += static_cast<std::int64_t>(sends.size());
  return start(std::move(sends), std::move(receives), std::move(label));
}

Request Communicator::all_to_all(std::vector<Tensor> sends, std::vector<Tensor> receives, std::string label) {
  return all_to_all({0, size()}, std::move(sends), std::move(receives), std::move(label));
}

Request Communicator::all_to_all(RankRange among, std::vector<Tensor> sends, std::vector<Tensor> receives,
                                 std::string label) {
  const auto [first, count] = among;
  if (first < 0 || first > rank() || rank() - first >= count || count > size() - first) {
    throw std::invalid_argument(fmt::format("rank {} of {}: '{}': an all-to-all of {} ranks from {} on",
                                            rank(), size(), label, count, first));
  }
  if (std::ssize(sends) != count || std::ssize(receives) != count) {
    throw std::invalid_argument(
        fmt::format("rank {} of {}: '{}': an all-to-all of {} sends and {} receives among {} ranks", rank(),
                    size(), label, sends.size(), receives.size(), count));
  }
  std::vector<Message> out, in;
  for (int p = 0; p < count; ++p) {
    Tensor& send = sends[static_cast<std::size_t>(p)];
    Tensor& receive = receives[static_cast<std::size_t>(p)];
    if (first + p == rank()) {
      if (send.data() != receive.data()) send.device().copy(send, receive);
      continue;
    }
    traffic_.bytes += static_cast<std::int64_t>(send.size_bytes());
    out.push_back({first + p, std::move(send)});
    in.push_back({first + p, std::move(receive)});
  }
  if (count > 1) ++traffic_.collectives;
  return start(std::move(out), std::move(in), std::move(label));
}

Request Communicator::all_gather(const Tensor& send, std::vector<Tensor> receives, std::string label) {
  std::vector<Tensor> sends(static_cast<std::size_t>(size()), send);
  return all_to_all(std::move(sends), std::move(receives), std::move(label));
}

namespace {

/// The shares of a sum on their way.
class Shares final : public Request::State {
 public:
  Shares(Request arriving, std::vector<Tensor> shares, Tensor sum)
      : arriving_(std::move(arriving)), shares_(std::move(shares)), sum_(std::move(sum)) {}

  void wait() override {
    arriving_.wait();
    Device& device = sum_.device();
    device.copy(shares_.front(), sum_);
    for (std::size_t rank = 1; rank < shares_.size(); ++rank) device.add(shares_[rank], sum_);
  }

 private:
  Request arriving_;  // which counts the time waited
  std::vector<Tensor> shares_;
  Tensor sum_;
};

}  // namespace

Request Communicator::reduce_scatter(std::vector<Tensor> sends, const Tensor& sum, std::string label) {
  std::vector<Tensor> shares;
  for (int from = 0; from < size(); ++from) {
    const bool own = from == rank() && std::ssize(sends) > from;
    shares.push_back(own ? sends[static_cast<std::size_t>(from)]
                         : sum.device().allocate(sum.shape(), DType::fp32));
  }
  Request arriving = all_to_all(std::move(sends), shares, std::move(label));
  return Request(std::make_unique<Shares>(std::move(arriving), std::move(shares), sum));
}

}  // namespace ringside
