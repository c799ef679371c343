// Planted bugs of the balanced schedule.
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "distributed/variants/balanced.h"
#include "harness/mutants/mutant.h"
#include "harness/mutants/rewrite.h"
#include "harness/run/communicator_decorator.h"
#include "harness/run/device_decorator.h"

namespace ringside {
namespace {

constexpr float kNothing = -std::numeric_limits<float>::infinity();

/// Spoils what a helper has just made of another rank's queries. The first merge of a pass is into the rank's
/// own (o, lse).
struct WrongHelp : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  Tensor own_o, own_lse;
  virtual void before(const Tensor&, const Tensor&) {}
  virtual void after(const Tensor&, const Tensor&) {}

  void softmax_merge(const Tensor& bo, const Tensor& bl, const Tensor& o, const Tensor& lse) override {
    if (!own_o) own_o = o, own_lse = lse;
    const bool helps = o.data() != own_o.data();
    if (helps) before(o, lse);
    real_.softmax_merge(bo, bl, o, lse);
    if (helps) after(o, lse);
  }

  /// As many rows as both have.
  void copy_rows(const Tensor& from, const Tensor& to) const {
    const Index tokens = std::min(from.shape().tokens, to.shape().tokens);
    real_.copy_part(from, {}, to, {}, to.shape().heads, tokens);
  }
};

struct HelperNotReset : WrongHelp {
  using WrongHelp::WrongHelp;
  void before(const Tensor& o, const Tensor& lse) override {
    copy_rows(own_o, o);
    copy_rows(own_lse, lse);
  }
};

struct HelperWeightForgotten : WrongHelp {
  using WrongHelp::WrongHelp;
  void after(const Tensor&, const Tensor& lse) override { real_.fill(lse, 0); }
};

struct HelpOneStepLate : WrongHelp {
  using WrongHelp::WrongHelp;
  Tensor last_o, last_lse;
  void after(const Tensor& o, const Tensor& lse) override {
    const Tensor o_now = snapshot(o), lse_now = snapshot(lse);
    real_.fill(lse, kNothing);
    if (last_o) {
      copy_rows(last_o, o);
      copy_rows(last_lse, lse);
    }
    last_o = o_now;
    last_lse = lse_now;
  }
};

struct HelpOneStepEarly : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  Tensor own_dq;
  void softmax_backward(const SoftmaxBlock& b, const Tensor& dout, const Tensor& lse, const Tensor& delta,
                        const Tensor& dq, const Tensor& dk, const Tensor& dv) override {
    if (!own_dq) own_dq = dq;
    const bool helps = dq.data() != own_dq.data();
    real_.softmax_backward(b, dout, lse, delta, helps ? snapshot(dq) : dq, dk, dv);
  }
};

/// As if forward had the P/2 + 1 steps that an even P takes: the last results of an odd P bring nothing.
struct OddSizeAccepted : CommunicatorDecorator {
  using CommunicatorDecorator::CommunicatorDecorator;
  void arrived(const Message& message, const std::string& what) override {
    const int last = balanced::steps(size()) - 1;
    const bool is_lse = message.tensor.shape().dim == 1;
    if (is_lse && what == fmt::format("balanced forward, step {}: results", last)) {
      message.tensor.device().fill(message.tensor, kNothing);
    }
  }
};

}  // namespace

void add_balanced_bugs(Mutants& list) {
  const auto balanced = family_variants("balanced");
  add_on_device<HelperNotReset>(list, 37, "helper_not_reset",
                                "a helper goes on from its own o and lse, not from nothing", balanced);
  add_on_device<HelperWeightForgotten>(list, 38, "helper_normalised",
                                       "a helper's o is merged as if the weights it was divided by were 1",
                                       balanced);
  add_on_device<HelpOneStepLate>(list, 39, "help_one_step_late",
                                 "a helper gives back what it made for the queries before these", balanced);
  add_on_device<HelpOneStepEarly>(list, 39, "help_one_step_early",
                                  "a helper gives dq back before it has computed it", balanced);
  list.push_back({40, "odd_size_accepted", "an odd P runs the steps of an even one: a block is missing",
                  *balanced[0], world_of<OddSizeAccepted>});
}

}  // namespace ringside
