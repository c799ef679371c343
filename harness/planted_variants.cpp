// Variants that fail in known ways, for ringside_planted: the whole program, and these. Each is `ring` but
// for its forward pass.
#include <unistd.h>

#include "distributed/variant.h"
#include "harness/test_faulty_communicator.h"

namespace ringside {
namespace {

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

Variant planted(std::string_view name, std::string_view summary, decltype(Variant::forward) forward) {
  return {.name = name,
          .op = Operator::softmax,
          .summary = summary,
          .unsupported = [](const Problem& p, int sp) { return ring().unsupported(p, sp); },
          .forward = forward,
          .backward = [](const Context& c, const Inputs& in, const Forward& f,
                         const Tensor& dout) { return ring().backward(c, in, f, dout); },
          .traffic = [](const Problem& p, DType dtype, int sp,
                        int rank) { return ring().traffic(p, dtype, sp, rank); },
          .scratch_bytes = [](const Problem& p, int sp) { return ring().scratch_bytes(p, sp); }};
}

const Registration all[] = {
    Registration(planted("ring_flipped", "one bit of each message is flipped on its way", flipped)),
    Registration(planted("ring_cut", "each message loses its end on its way", cut)),
    Registration(planted("ring_absent", "the last rank never arrives", absent)),
};

}  // namespace
}  // namespace ringside
