// Variants that fail in known ways, for ringside_planted: the whole program, and these. Each is `ring` but
// for its forward pass.
#include <unistd.h>

#include "distributed/variant.h"
#include "harness/mutants/rewrite.h"
#include "harness/run/communicator_decorator.h"

namespace ringside {
namespace {

/// Another communicator, whose sent tensors pass through `spoil` on their way; the sender keeps what it has.
class FaultyCommunicator final : public ForwardingCommunicator {
 public:
  using Spoil = Tensor (*)(const Tensor& sent);

  FaultyCommunicator(Communicator& real, Spoil spoil) : ForwardingCommunicator(real), spoil_(spoil) {}

 private:
  Request start(std::vector<Message> sends, std::vector<Message> receives, std::string what) override {
    for (Message& message : sends) message.tensor = spoil_(message.tensor);
    return real_.exchange(std::move(sends), std::move(receives), std::move(what));
  }

  Spoil spoil_;
};

/// A copy whose first element has the other sign: one bit.
Tensor with_a_flipped_bit(const Tensor& sent) {
  const Tensor copy = snapshot(sent);
  if (copy.size_bytes() > 0) copy.data()[size_of(copy.dtype()) - 1] ^= std::byte{0x80};  // little-endian
  return copy;
}

/// All tokens but the last, of the first batch entry and head.
Tensor without_its_end(const Tensor& sent) {
  const Shape& s = sent.shape();
  const Tensor rest = scratch(sent.device(), {1, 1, s.tokens - 1, s.dim}, sent.dtype());
  sent.device().fill(rest, 0);
  return rest;
}

const Variant& ring() { return *find_variant("ring", Operator::softmax); }

Forward through(FaultyCommunicator::Spoil spoil, const Context& context, const Inputs& inputs) {
  FaultyCommunicator comm(context.comm, spoil);
  return ring().forward({comm, context.device, context.problem}, inputs);
}

Forward flipped(const Context& context, const Inputs& inputs) {
  return through(with_a_flipped_bit, context, inputs);
}

Forward cut(const Context& context, const Inputs& inputs) {
  return through(without_its_end, context, inputs);
}

/// The last rank never comes.
Forward absent(const Context& context, const Inputs& inputs) {
  while (context.comm.rank() == context.comm.size() - 1) sleep(600);
  return ring().forward(context, inputs);
}

Variant planted(const std::string& name, const std::string& summary, decltype(Variant::forward) forward) {
  return {.name = name,
          .op = Operator::softmax,
          .summary = summary,
          .unsupported = [](const Problem& p, int sp) { return ring().unsupported(p, sp); },
          .forward = forward,
          .backward = [](const Context& c, const Inputs& in, const Forward& f,
                         const Tensor& dout) { return ring().backward(c, in, f, dout); },
          .traffic = [](const Problem& p, DType dtype, int sp,
                        int rank) { return ring().traffic(p, dtype, sp, rank); },
          .memory = [](const Problem& p, DType dtype, int sp,
                       int rank) { return ring().memory(p, dtype, sp, rank); }};
}

[[maybe_unused]] const bool added = [] {
  add_variant(planted("ring_flipped", "one bit of each message is flipped on its way", flipped));
  add_variant(planted("ring_cut", "each message loses its end on its way", cut));
  add_variant(planted("ring_absent", "the last rank never arrives", absent));
  return true;
}();

}  // namespace
}  // namespace ringside
