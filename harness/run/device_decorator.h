// A device that passes everything on to another: the base for watching it and for planting faults.
#pragma once

#include <vector>

#include "distributed/variant.h"
#include "kernels/device.h"

namespace ringside {

/// Forwards every operation to `real`, which must outlive it; a fault overrides one or two.
class DeviceDecorator : public Device {
 public:
  DeviceDecorator(Device& real, int rank, int size) : real_(real), rank_(rank), size_(size) {}

  std::string_view name() const override { return real_.name(); }
  bool flushes_denormals() const override { return real_.flushes_denormals(); }
  Tensor allocate(const Shape& shape, DType dtype) override { return real_.allocate(shape, dtype); }
  void upload(std::span<const std::byte> host, const Tensor& to) override { real_.upload(host, to); }
  void download(const Tensor& from, std::span<std::byte> host) override { real_.download(from, host); }
  void fill(const Tensor& x, float value) override { real_.fill(x, value); }
  void copy(const Tensor& from, const Tensor& to) override { real_.copy(from, to); }
  void add(const Tensor& from, const Tensor& to) override { real_.add(from, to); }
  void copy_part(const Tensor& from, Corner from_at, const Tensor& to, Corner to_at, Index heads,
                 Index tokens) override {
    real_.copy_part(from, from_at, to, to_at, heads, tokens);
  }
  void sum_heads(const Tensor& from, const Tensor& to) override { real_.sum_heads(from, to); }
  void synchronize() override { real_.synchronize(); }
  Event now() override { return real_.now(); }
  void after(const Event& event) override { real_.after(event); }
  Event peer_copy(const Tensor& from, const Event& from_ready, const Tensor& to,
                  const Event& to_ready) override {
    return real_.peer_copy(from, from_ready, to, to_ready);
  }
  bool in_host_memory() const override { return real_.in_host_memory(); }
  std::shared_ptr<std::byte> host_memory(std::size_t bytes) override { return real_.host_memory(bytes); }
  MemoryUse memory() const override { return real_.memory(); }
  void reset_peak() override { real_.reset_peak(); }
  void softmax_forward(const SoftmaxBlock& block, const Tensor& o, const Tensor& lse) override {
    real_.softmax_forward(block, o, lse);
  }
  void softmax_merge(const Tensor& block_o, const Tensor& block_lse, const Tensor& o,
                     const Tensor& lse) override {
    real_.softmax_merge(block_o, block_lse, o, lse);
  }
  void softmax_delta(const Tensor& o, const Tensor& dout, const Tensor& delta) override {
    real_.softmax_delta(o, dout, delta);
  }
  void softmax_backward(const SoftmaxBlock& block, const Tensor& dout, const Tensor& lse, const Tensor& delta,
                        const Tensor& dq, const Tensor& dk, const Tensor& dv) override {
    real_.softmax_backward(block, dout, lse, delta, dq, dk, dv);
  }
  void lightning_forward(const LightningChunk& chunk, const Tensor& state, const Tensor& o) override {
    real_.lightning_forward(chunk, state, o);
  }
  void lightning_backward(const LightningChunk& chunk, const Tensor& dout, const Tensor& state,
                          const Tensor& dstate, const Tensor& dq, const Tensor& dk,
                          const Tensor& dv) override {
    real_.lightning_backward(chunk, dout, state, dstate, dq, dk, dv);
  }
  void lightning_states(const Tensor& a, const Tensor& b, std::span<const float> slopes,
                        const Documents& documents, Index block, Toward toward,
                        const Tensor& states) override {
    real_.lightning_states(a, b, slopes, documents, block, toward, states);
  }
  void lightning_scan(const Tensor& states, std::span<const float> slopes, const Documents& documents,
                      Index tokens, Index block, Toward toward, const Tensor& total) override {
    real_.lightning_scan(states, slopes, documents, tokens, block, toward, total);
  }
  void lightning_forward_blocks(const LightningChunk& chunk, const BlockStates& states,
                                const Tensor& o) override {
    real_.lightning_forward_blocks(chunk, states, o);
  }
  void lightning_backward_blocks(const LightningChunk& chunk, const Tensor& dout, const BlockStates& states,
                                 const BlockStates& dstates, const Tensor& dq, const Tensor& dk,
                                 const Tensor& dv) override {
    real_.lightning_backward_blocks(chunk, dout, states, dstates, dq, dk, dv);
  }
  void matmul(const Tensor& a, Transpose ta, const Tensor& b, Transpose tb, const Tensor& c, bool accumulate,
              Causal causal, TokenSpan tokens) override {
    real_.matmul(a, ta, b, tb, c, accumulate, causal, tokens);
  }
  void decay_scores(const Tensor& scores, std::span<const float> slopes, TokenSpan tokens) override {
    real_.decay_scores(scores, slopes, tokens);
  }
  void decay_rows(const Tensor& x, std::span<const float> slopes, Decay decay, const Tensor& y) override {
    real_.decay_rows(x, slopes, decay, y);
  }

 protected:
  Device& real_;
  int rank_, size_;  ///< in the sequence group, and of it
};

/// The variant on a device D(device, rank, size, more...) in both passes.
template <typename D, typename... More>
Variant on_device(const Variant& right, const More&... more) {
  Variant twin = right;
  twin.forward = [forward = right.forward, more...](const Context& c, const Inputs& in) {
    D device(c.device, c.comm.rank(), c.comm.size(), more...);
    return forward({c.comm, device, c.problem}, in);
  };
  twin.backward = [backward = right.backward, more...](const Context& c, const Inputs& in,
                                                       const Forward& saved, const Tensor& dout) {
    D device(c.device, c.comm.rank(), c.comm.size(), more...);
    return backward({c.comm, device, c.problem}, in, saved, dout);
  };
  return twin;
}

}  // namespace ringside
