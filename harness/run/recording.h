// Recording device and communicator: they write a timeline and change nothing.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "harness/run/communicator_decorator.h"
#include "harness/run/device_decorator.h"
#include "harness/run/timeline.h"

namespace ringside {

/// Notes each operation that computes or moves data within the device. Its tensors are those of the real
/// device, so that what a communicator copies is the communicator's: a wait, or the rest. Of a device that
/// computes after its calls have returned the recorder must know, and waits for it after each.
class RecordingDevice : public DeviceDecorator {
 public:
  RecordingDevice(Device& real, const Communicator& group, Recorder& recorder)
      : DeviceDecorator(real, group.rank(), group.size()), recorder_(recorder) {}

  void fill(const Tensor& x, float value) override {
    note("fill", [&] { real_.fill(x, value); });
  }
  void copy(const Tensor& from, const Tensor& to) override {
    note("copy", [&] { real_.copy(from, to); });
  }
  void add(const Tensor& from, const Tensor& to) override {
    note("add", [&] { real_.add(from, to); });
  }
  void copy_part(const Tensor& from, Corner from_at, const Tensor& to, Corner to_at, Index heads,
                 Index tokens) override {
    note("copy_part", [&] { real_.copy_part(from, from_at, to, to_at, heads, tokens); });
  }
  void sum_heads(const Tensor& from, const Tensor& to) override {
    note("sum_heads", [&] { real_.sum_heads(from, to); });
  }
  void softmax_forward(const SoftmaxBlock& block, const Tensor& o, const Tensor& lse) override {
    note("softmax_forward", [&] { real_.softmax_forward(block, o, lse); });
  }
  void softmax_merge(const Tensor& block_o, const Tensor& block_lse, const Tensor& o,
                     const Tensor& lse) override {
    note("softmax_merge", [&] { real_.softmax_merge(block_o, block_lse, o, lse); });
  }
  void softmax_delta(const Tensor& o, const Tensor& dout, const Tensor& delta) override {
    note("softmax_delta", [&] { real_.softmax_delta(o, dout, delta); });
  }
  void softmax_backward(const SoftmaxBlock& block, const Tensor& dout, const Tensor& lse, const Tensor& delta,
                        const Tensor& dq, const Tensor& dk, const Tensor& dv) override {
    note("softmax_backward", [&] { real_.softmax_backward(block, dout, lse, delta, dq, dk, dv); });
  }
  void lightning_forward(const LightningChunk& chunk, const Tensor& state, const Tensor& o) override {
    note("lightning_forward", [&] { real_.lightning_forward(chunk, state, o); });
  }
  void lightning_backward(const LightningChunk& chunk, const Tensor& dout, const Tensor& state,
                          const Tensor& dstate, const Tensor& dq, const Tensor& dk,
                          const Tensor& dv) override {
    note("lightning_backward", [&] { real_.lightning_backward(chunk, dout, state, dstate, dq, dk, dv); });
  }
  void lightning_states(const Tensor& a, const Tensor& b, std::span<const float> slopes,
                        const Documents& documents, Index block, Toward toward,
                        const Tensor& states) override {
    note("lightning_states", [&] { real_.lightning_states(a, b, slopes, documents, block, toward, states); });
  }
  void lightning_scan(const Tensor& states, std::span<const float> slopes, const Documents& documents,
                      Index tokens, Index block, Toward toward, const Tensor& total) override {
    note("lightning_scan",
         [&] { real_.lightning_scan(states, slopes, documents, tokens, block, toward, total); });
  }
  void lightning_forward_blocks(const LightningChunk& chunk, const BlockStates& states,
                                const Tensor& o) override {
    note("lightning_forward_blocks", [&] { real_.lightning_forward_blocks(chunk, states, o); });
  }
  void lightning_backward_blocks(const LightningChunk& chunk, const Tensor& dout, const BlockStates& states,
                                 const BlockStates& dstates, const Tensor& dq, const Tensor& dk,
                                 const Tensor& dv) override {
    note("lightning_backward_blocks",
         [&] { real_.lightning_backward_blocks(chunk, dout, states, dstates, dq, dk, dv); });
  }
  void matmul(const Tensor& a, Transpose ta, const Tensor& b, Transpose tb, const Tensor& c, bool accumulate,
              Causal causal, TokenSpan tokens) override {
    note("matmul", [&] { real_.matmul(a, ta, b, tb, c, accumulate, causal, tokens); });
  }
  void decay_scores(const Tensor& scores, std::span<const float> slopes, TokenSpan tokens) override {
    note("decay_scores", [&] { real_.decay_scores(scores, slopes, tokens); });
  }
  void decay_rows(const Tensor& x, std::span<const float> slopes, Decay decay, const Tensor& y) override {
    note("decay_rows", [&] { real_.decay_rows(x, slopes, decay, y); });
  }

 private:
  template <typename Operation>
  void note(std::string_view name, const Operation& operation) {
    recorder_.record(Step::Kind::compute, name, operation);
  }

  Recorder& recorder_;
};

/// Notes each operation that has messages, and each wait for one; in groups that are split off too. Its
/// traffic() is what the group would have counted.
class RecordingCommunicator : public ForwardingCommunicator {
 public:
  RecordingCommunicator(std::unique_ptr<Communicator> real, Recorder& recorder)
      : ForwardingCommunicator(*real), owned_(std::move(real)), recorder_(recorder) {}

  std::unique_ptr<Communicator> split(int color, int key) override {
    return std::make_unique<RecordingCommunicator>(real_.split(color, key), recorder_);
  }

 private:
  struct InFlight : Request::State {
    explicit InFlight(Recorder& to) : recorder(to) {}

    void wait() override {
      const std::int64_t wait_ns = recorder.now();
      request.wait();
      const std::int64_t end_ns = recorder.settled();
      recorder.add(Step::Kind::wait, name, wait_ns, end_ns);
      recorder.add(Step::Kind::message, name, begin_ns, end_ns, bytes);
    }

    Recorder& recorder;
    Recorder::Name name;
    std::int64_t begin_ns = 0, bytes = 0;
    Request request;
  };

  Request start(std::vector<Message> sends, std::vector<Message> receives, std::string what) override {
    if (sends.empty() && receives.empty())
      return real_.exchange(std::move(sends), std::move(receives), std::move(what));
    auto state = std::make_unique<InFlight>(recorder_);
    state->name = recorder_.keep(what);
    for (const Message& message : sends)
      state->bytes += static_cast<std::int64_t>(message.tensor.size_bytes());
    state->begin_ns = recorder_.now();
    state->request = real_.exchange(std::move(sends), std::move(receives), std::move(what));
    return Request(std::move(state));
  }

  std::unique_ptr<Communicator> owned_;
  Recorder& recorder_;
};

}  // namespace ringside
