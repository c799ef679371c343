// Messages that go wrong between two ranks.
#pragma once

#include "distributed/communicator.h"
#include "kernels/device.h"

namespace ringside {

/// Another communicator, whose sent tensors pass through `spoil` on their way; the sender keeps what it has.
class FaultyCommunicator final : public Communicator {
 public:
  using Spoil = Tensor (*)(const Tensor& sent);

  FaultyCommunicator(Communicator& real, Spoil spoil) : real_(real), spoil_(spoil) {}

  int rank() const override { return real_.rank(); }
  int size() const override { return real_.size(); }
  void barrier() override { real_.barrier(); }
  std::unique_ptr<Communicator> split(int color, int key) override { return real_.split(color, key); }

 private:
  Pending start(std::vector<Message> sends, std::vector<Message> receives, std::string what) override {
    for (Message& message : sends) message.tensor = spoil_(message.tensor);
    return real_.exchange(std::move(sends), std::move(receives), std::move(what));
  }

  Communicator& real_;
  Spoil spoil_;
};

/// A copy whose first element has the other sign: one bit.
inline Tensor with_a_flipped_bit(const Tensor& sent) {
  const Tensor copy = sent.device().allocate(sent.shape(), sent.dtype());
  sent.device().copy(sent, copy);
  if (copy.size_bytes() > 0) copy.data()[size_of(copy.dtype()) - 1] ^= std::byte{0x80};  // little-endian
  return copy;
}

/// All tokens but the last, of the first batch entry and head.
inline Tensor without_its_end(const Tensor& sent) {
  const Shape& s = sent.shape();
  const Tensor rest = sent.device().allocate({1, 1, s.tokens - 1, s.dim}, sent.dtype());
  sent.device().fill(rest, 0);
  return rest;
}

}  // namespace ringside
