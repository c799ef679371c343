// The CPU device: one thread, its own memory accounting. Operations by file: memory.cpp, softmax.cpp,
// lightning.cpp, unfused.cpp.
#pragma once

#include <atomic>

#include "kernels/checks.h"
#include "kernels/device.h"

namespace ringside {

class CpuDevice : public Device {
 public:
  explicit CpuDevice(CpuOptions options) : options_(options) {}
  ~CpuDevice() override { require_none_left(live_); }

  std::string_view name() const override { return "cpu"; }
  bool flushes_denormals() const override { return true; }

  Tensor allocate(const Shape& shape, DType dtype) override;
  void upload(std::span<const std::byte> host, const Tensor& to) override;
  void download(const Tensor& from, std::span<std::byte> host) override;
  void fill(const Tensor& x, float value) override;
  void copy(const Tensor& from, const Tensor& to) override;
  void add(const Tensor& from, const Tensor& to) override;
  void copy_part(const Tensor& from, Corner from_at, const Tensor& to, Corner to_at, Index heads,
                 Index tokens) override;
  void sum_heads(const Tensor& from, const Tensor& to) override;
  void synchronize() override {}
  MemoryUse memory() const override { return {live_, peak_}; }
  void reset_peak() override { peak_ = live_.load(); }
  Event now() override { return nullptr; }
  void after(const Event&) override {}
  Event peer_copy(const Tensor& from, const Event&, const Tensor& to, const Event&) override {
    copy(from, to);
    return nullptr;
  }
  bool in_host_memory() const override { return true; }
  std::shared_ptr<std::byte> host_memory(std::size_t bytes) override {
    return {new std::byte[bytes], std::default_delete<std::byte[]>()};
  }

  void softmax_forward(const SoftmaxBlock& block, const Tensor& o, const Tensor& lse) override;
  void softmax_merge(const Tensor& block_o, const Tensor& block_lse, const Tensor& o,
                     const Tensor& lse) override;
  void softmax_delta(const Tensor& o, const Tensor& dout, const Tensor& delta) override;
  void softmax_backward(const SoftmaxBlock& block, const Tensor& dout, const Tensor& lse, const Tensor& delta,
                        const Tensor& dq, const Tensor& dk, const Tensor& dv) override;

  void lightning_forward(const LightningChunk& chunk, const Tensor& state, const Tensor& o) override;
  void lightning_backward(const LightningChunk& chunk, const Tensor& dout, const Tensor& state,
                          const Tensor& dstate, const Tensor& dq, const Tensor& dk,
                          const Tensor& dv) override;

  void lightning_states(const Tensor& a, const Tensor& b, std::span<const float> slopes,
                        const Documents& documents, Index block, Toward toward,
                        const Tensor& states) override;
  void lightning_scan(const Tensor& states, std::span<const float> slopes, const Documents& documents,
                      Index tokens, Index block, Toward toward, const Tensor& total) override;
  void lightning_forward_blocks(const LightningChunk& chunk, const BlockStates& states,
                                const Tensor& o) override;
  void lightning_backward_blocks(const LightningChunk& chunk, const Tensor& dout, const BlockStates& states,
                                 const BlockStates& dstates, const Tensor& dq, const Tensor& dk,
                                 const Tensor& dv) override;

  void matmul(const Tensor& a, Transpose ta, const Tensor& b, Transpose tb, const Tensor& c, bool accumulate,
              Causal causal, TokenSpan tokens) override;
  void decay_scores(const Tensor& scores, std::span<const float> slopes, TokenSpan tokens) override;
  void decay_rows(const Tensor& x, std::span<const float> slopes, Decay decay, const Tensor& y) override;

 protected:
  const CpuOptions options_;

 private:
  void release(std::byte* memory, std::size_t bytes);

  // Atomic, as the last handle of a tensor that was sent may go in the receiver's thread.
  std::atomic<std::size_t> live_ = 0;
  std::atomic<std::size_t> peak_ = 0;
};

}  // namespace ringside
