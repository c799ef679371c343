// Linear attention with decay on one rank (Qin et al. 2024, "Lightning Attention-2").
#include "distributed/variant.h"
#include "distributed/variants/all.h"
#include "distributed/variants/block.h"

namespace ringside {
namespace {

Forward forward(const Context& context, const Inputs& in) {
  auto& [comm, device, problem] = context;
  const Tensor state = zeros(device, state_shape(in));
  const Tensor o = device.allocate(o_shape(in), in.q.dtype());
  device.lightning_forward(own_chunk(context, in), state, o);
  return {o, {}};
}

Gradients backward(const Context& context, const Inputs& in, const Forward&, const Tensor& dout) {
  auto& [comm, device, problem] = context;
  const Tensor state = zeros(device, state_shape(in));
  const Tensor dstate = zeros(device, state_shape(in));
  const Gradients grad = gradients_like(device, in);
  device.lightning_backward(own_chunk(context, in), dout, state, dstate, grad.dq, grad.dk, grad.dv);
  return grad;
}

/// Forward: o and the state. Backward: dq, dk, dv and both states.
PassMemory memory(const Problem& p, DType dtype, int, int) {
  return {.forward = bytes(p.o_shape().size(), dtype) + state_bytes(p),
          .backward = bytes(qkv_size(p), dtype) + 2 * state_bytes(p)};
}

std::optional<std::string> unsupported(const Problem&, int sp) {
  if (sp != 1) return "one rank holds the whole sequence: sp must be 1";
  return std::nullopt;
}

}  // namespace

Variant make_lightning() {
  return {.name = "lightning",
          .op = Operator::lightning,
          .summary = "not distributed: one rank holds the whole sequence (sp = 1)",
          .unsupported = unsupported,
          .forward = forward,
          .backward = backward,
          .traffic = [](const Problem&, DType, int, int) { return PassTraffic{}; },
          .memory = memory};
}

}  // namespace ringside
