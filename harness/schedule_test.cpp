// In which order a rank computes and communicates: work that needs nothing from other ranks comes before the
// first wait, and what others wait for is sent as soon as it can be.
#include <gmock/gmock.h>

#include "harness/communicator_decorator.h"
#include "harness/device_decorator.h"
#include "harness/run_case.h"
#include "harness/test_variants.h"

namespace ringside {
namespace {

using testing::ElementsAreArray;

using Events = std::vector<std::string>;

class RecordingDevice : public DeviceDecorator {
 public:
  RecordingDevice(Device& real, Events& events) : DeviceDecorator(real, 0, 0), events_(events) {}

  void add(const Tensor& from, const Tensor& to) override {
    events_.emplace_back("add");
    real_.add(from, to);
  }
  void lightning_forward(const LightningChunk& chunk, const Tensor& state, const Tensor& o) override {
    events_.emplace_back("pass");
    real_.lightning_forward(chunk, state, o);
  }
  void lightning_backward(const LightningChunk& chunk, const Tensor& dout, const Tensor& state,
                          const Tensor& dstate, const Tensor& dq, const Tensor& dk,
                          const Tensor& dv) override {
    events_.emplace_back("pass");
    real_.lightning_backward(chunk, dout, state, dstate, dq, dk, dv);
  }
  void lightning_states(const Tensor& a, const Tensor& b, std::span<const float> slopes,
                        const Documents& documents, Index block, Toward toward,
                        const Tensor& states) override {
    events_.emplace_back("state");
    real_.lightning_states(a, b, slopes, documents, block, toward, states);
  }
  void lightning_forward_blocks(const LightningChunk& chunk, const BlockStates& states,
                                const Tensor& o) override {
    events_.emplace_back("pass");
    real_.lightning_forward_blocks(chunk, states, o);
  }
  void lightning_backward_blocks(const LightningChunk& chunk, const Tensor& dout, const BlockStates& states,
                                 const BlockStates& dstates, const Tensor& dq, const Tensor& dk,
                                 const Tensor& dv) override {
    events_.emplace_back("pass");
    real_.lightning_backward_blocks(chunk, dout, states, dstates, dq, dk, dv);
  }
  void matmul(const Tensor& a, Transpose ta, const Tensor& b, Transpose tb, const Tensor& c, bool accumulate,
              Causal causal, TokenSpan tokens) override {
    events_.emplace_back("product");
    real_.matmul(a, ta, b, tb, c, accumulate, causal, tokens);
  }

 private:
  Events& events_;
};

class RecordingGroup : public CommunicatorDecorator {
 public:
  RecordingGroup(Communicator& real, Events& events)
      : CommunicatorDecorator(real.split(0, real.rank())), events_(events) {}

 private:
  void leaving(Message&, const std::string&) override { events_.emplace_back("send"); }
  void arrived(const Message&, const std::string&) override { events_.emplace_back("arrival"); }

  Events& events_;
};

struct Schedule {
  const char* variant;
  Events forward, backward;
};

class OfAMiddleRank : public testing::TestWithParam<Schedule> {};

TEST_P(OfAMiddleRank, ComputesBeforeItWaitsAndSendsBeforeItComputes) {
  const Case c = {.variant = GetParam().variant,
                  .op = Operator::lightning,
                  .seq = 11,
                  .heads = 2,
                  .head_dim = 5,
                  .value_dim = 3,
                  .sp = 3};
  const Variant& right = *find_variant(c.variant, c.op);
  std::vector<Events> forward(3), backward(3);
  Variant twin = right;
  twin.forward = [&](const Context& context, const Inputs& in) {
    Events& events = forward[static_cast<std::size_t>(context.comm.rank())];
    RecordingDevice device(context.device, events);
    RecordingGroup comm(context.comm, events);
    return right.forward({comm, device, context.problem}, in);
  };
  twin.backward = [&](const Context& context, const Inputs& in, const Forward& saved, const Tensor& dout) {
    Events& events = backward[static_cast<std::size_t>(context.comm.rank())];
    RecordingDevice device(context.device, events);
    RecordingGroup comm(context.comm, events);
    return right.backward({comm, device, context.problem}, in, saved, dout);
  };
  Fleet fleet = Fleet::of_threads(std::nullopt, std::chrono::seconds(60));
  InputsCache inputs;
  fleet.run(3, [&](Communicator& world) { run_rank(c, twin, "cpu", world, {}, inputs); });
  EXPECT_THAT(forward[1], ElementsAreArray(GetParam().forward));
  EXPECT_THAT(backward[1], ElementsAreArray(GetParam().backward));
}

INSTANTIATE_TEST_SUITE_P(
    Lightning, OfAMiddleRank,
    testing::Values(Schedule{"lasp_naive",
                             {"product", "product", "product", "arrival", "add", "send", "product"},
                             {"product", "product", "product", "product", "product", "product", "product",
                              "arrival", "add", "send", "product", "product"}},
                    Schedule{"lasp_fuse",
                             {"state", "arrival", "add", "send", "pass"},
                             {"state", "arrival", "add", "send", "pass"}},
                    Schedule{"lasp_fuse_parallel",
                             {"state", "arrival", "add", "send", "pass"},
                             {"state", "arrival", "add", "send", "pass"}},
                    Schedule{"zeco.2",
                             {"state", "arrival", "add", "send", "arrival", "add", "send", "pass"},
                             {"state", "arrival", "add", "send", "arrival", "add", "send", "pass"}},
                    Schedule{"lasp2",
                             {"state", "send", "send", "pass", "arrival", "arrival", "add", "product"},
                             {"state", "send", "send", "pass", "arrival", "arrival", "add", "product",
                              "product"}}),
    [](const auto& param) { return test_name(*find_variant(param.param.variant, Operator::lightning)); });

}  // namespace
}  // namespace ringside
