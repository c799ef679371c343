// Bugs of lightning attention's states and decays.
#include <cmath>

#include "harness/communicator_decorator.h"
#include "harness/device_decorator.h"
#include "harness/mutants/mutant.h"
#include "harness/mutants/rewrite.h"

namespace ringside {
namespace {

/// decay_rows() with a constant exponent carries a state across a chunk.
template <int by>
struct CarryOff : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  void decay_rows(const Tensor& x, std::span<const float> slopes, Decay decay, const Tensor& y) override {
    if (decay.step == 0) decay.offset += by;
    real_.decay_rows(x, slopes, decay, y);
  }
};

struct MixedExponents : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  void decay_rows(const Tensor& x, std::span<const float> slopes, Decay decay, const Tensor& y) override {
    if (decay.step == -1) decay.offset -= 1;
    real_.decay_rows(x, slopes, decay, y);
  }
};

struct PositionsInBf16 : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  void decay_scores(const Tensor& scores, std::span<const float> slopes) override {
    const Shape& s = scores.shape();
    const View<float> view = scores.view<float>();
    for (Index b = 0; b < s.batch; ++b) {
      for (Index h = 0; h < s.heads; ++h) {
        for (Index i = 0; i < s.tokens; ++i) {
          const std::span<float> row = view.row(b, h, i);
          for (Index j = 0; j <= i; ++j) {
            const float distance = as_bf16(static_cast<float>(i)) - as_bf16(static_cast<float>(j));
            row[static_cast<std::size_t>(j)] *= std::exp(-slopes[static_cast<std::size_t>(h)] * distance);
          }
        }
      }
    }
  }
};

struct StateNotCleared : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  void fill(const Tensor&, float) override {}
};

/// Only whole blocks of 64 tokens are there; what is beyond counts as zero.
struct RemainderIgnored : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;

  static Tensor whole_blocks(const Tensor& x) {
    const Tensor y = snapshot(x);
    const Index tokens = x.shape().tokens;
    fill_tokens(y, tokens - tokens % 64, tokens, 0);
    return y;
  }
  static LightningChunk whole_blocks(const LightningChunk& chunk) {
    return {whole_blocks(chunk.q), whole_blocks(chunk.k), whole_blocks(chunk.v), chunk.slopes};
  }

  void lightning_forward(const LightningChunk& chunk, const Tensor& state, const Tensor& o) override {
    real_.lightning_forward(whole_blocks(chunk), state, o);
  }
  void lightning_backward(const LightningChunk& chunk, const Tensor& dout, const Tensor& state,
                          const Tensor& dstate, const Tensor& dq, const Tensor& dk,
                          const Tensor& dv) override {
    real_.lightning_backward(whole_blocks(chunk), whole_blocks(dout), state, dstate, dq, dk, dv);
  }
  void lightning_states(const Tensor& a, const Tensor& b, std::span<const float> slopes, Index block,
                        Toward toward, const Tensor& states) override {
    real_.lightning_states(whole_blocks(a), whole_blocks(b), slopes, block, toward, states);
  }
  void lightning_forward_blocks(const LightningChunk& chunk, const BlockStates& states,
                                const Tensor& o) override {
    real_.lightning_forward_blocks(whole_blocks(chunk), states, o);
  }
  void lightning_backward_blocks(const LightningChunk& chunk, const Tensor& dout, const BlockStates& states,
                                 const BlockStates& dstates, const Tensor& dq, const Tensor& dk,
                                 const Tensor& dv) override {
    real_.lightning_backward_blocks(whole_blocks(chunk), whole_blocks(dout), states, dstates, dq, dk, dv);
  }
};

struct ScanOffByOne : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  void lightning_scan(const Tensor& states, std::span<const float> slopes, Index tokens, Index block,
                      Toward toward, const Tensor& total) override {
    const Tensor own = snapshot(states);
    real_.lightning_scan(states, slopes, tokens, block, toward, total);
    real_.add(own, states);
  }
};

struct ScanWithoutDecay : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  void lightning_scan(const Tensor& states, std::span<const float> slopes, Index tokens, Index block,
                      Toward toward, const Tensor& total) override {
    const std::vector<float> none(slopes.size(), 0.0F);
    real_.lightning_scan(states, none, tokens, block, toward, total);
  }
};

struct IncomingForgotten : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  void lightning_forward_blocks(const LightningChunk& chunk, const BlockStates& states,
                                const Tensor& o) override {
    BlockStates own = states;
    own.incoming = snapshot(states.incoming);
    real_.fill(own.incoming, 0);
    real_.lightning_forward_blocks(chunk, own, o);
  }
};

struct StateOfOtherEnd : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  void lightning_states(const Tensor& a, const Tensor& b, std::span<const float> slopes, Index block,
                        Toward toward, const Tensor& states) override {
    real_.lightning_states(a, b, slopes, block, toward == Toward::end ? Toward::start : Toward::end, states);
  }
};

/// The group with its ranks in the opposite order.
class Mirrored : public ForwardingCommunicator {
 public:
  using ForwardingCommunicator::ForwardingCommunicator;
  int rank() const override { return size() - 1 - real_.rank(); }
  std::unique_ptr<Communicator> split(int color, int key) override { return real_.split(color, -key); }

 private:
  Pending start(std::vector<Message> sends, std::vector<Message> receives, std::string what) override {
    for (auto* messages : {&sends, &receives}) {
      for (Message& message : *messages) message.peer = size() - 1 - message.peer;
    }
    return real_.exchange(std::move(sends), std::move(receives), std::move(what));
  }
};

Variant backward_in_forward_direction(const Variant& right) {
  Variant twin = right;
  twin.backward = [backward = right.backward](const Context& c, const Inputs& in, const Forward& saved,
                                              const Tensor& dout) {
    Mirrored mirrored(c.comm);
    return backward({mirrored, c.device, c.problem}, in, saved, dout);
  };
  return twin;
}

/// Backward reads a cache that forward has not written: the released lasp_cache.
Variant cache_not_written(const Variant& right) {
  Variant twin = right;
  twin.forward = [forward = right.forward](const Context& c, const Inputs& in) {
    Inputs other = in;
    other.cache = {snapshot(in.cache[0])};
    return forward(c, other);
  };
  return twin;
}

}  // namespace

void add_lightning_bugs(Mutants& list) {
  const auto find = [](std::string_view name) { return find_variant(name, Operator::lightning); };
  const auto lasp = lasp_family();
  const std::vector unfused = {find("lasp_naive"), find("lasp_cache")};
  const std::vector fused = {find("lasp_fuse"), find("lasp_fuse_parallel")};
  const std::vector parallel = {find("lasp_fuse_parallel")};
  add_on_device<CarryOff<1>>(list, 41, "carry_too_far", "a state crosses a chunk with lambda^(C+1)", lasp);
  add_on_device<CarryOff<-1>>(list, 41, "carry_too_short", "a state crosses a chunk with lambda^(C-1)", lasp);
  for (const Variant* variant : lasp) {
    list.push_back({42, "backward_forwards", "backward passes its state in the forward direction",
                    backward_in_forward_direction(*variant)});
  }
  add_on_device<PositionsInBf16>(list, 43, "positions_in_bf16", "decays come from positions in bf16",
                                 unfused);
  add_on_device<StateNotCleared>(list, 44, "state_not_cleared",
                                 "the first rank reads its state before it is written", lasp);
  list.push_back({44, "cache_not_written", "backward reads a cache that forward has not written",
                  cache_not_written(*find("lasp_cache"))});
  add_on_device<RemainderIgnored>(list, 47, "remainder_ignored",
                                  "tokens beyond the last whole block of 64 are left out", fused);
  add_on_device<ScanOffByOne>(list, 48, "scan_off_by_one", "a block's incoming state includes its own",
                              parallel);
  add_on_device<MixedExponents>(list, 0, "mixed_exponents", "keys decay by C-1-j where queries decay by i",
                                unfused);
  add_on_device<StateOfOtherEnd>(list, 0, "state_of_other_end",
                                 "the state that leaves is decayed to the other end", fused);
  add_on_device<ScanWithoutDecay>(list, 0, "scan_without_decay", "states are scanned without decay",
                                  parallel);
  add_on_device<IncomingForgotten>(list, 0, "incoming_forgotten", "blocks see the chunk's own states only",
                                   parallel);
}

}  // namespace ringside
