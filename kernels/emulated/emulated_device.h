// Device `emulated`: GPU attention kernels on a CPU. To judge the kernels.
#pragma once

#include "kernels/cpu/cpu_device.h"
#include "kernels/emulated/launcher.h"

namespace ringside {

/// Its memory is the CPU's; what a GPU's library would multiply, plain loops do.
class EmulatedDevice final : public CpuDevice {
 public:
  explicit EmulatedDevice(CpuOptions options) : CpuDevice(options) {}

  std::string_view name() const override { return "emulated"; }

  void fill(const Tensor& x, float value) override;
  void copy(const Tensor& from, const Tensor& to) override;
  void add(const Tensor& from, const Tensor& to) override;
  void copy_part(const Tensor& from, Corner from_at, const Tensor& to, Corner to_at, Index heads,
                 Index tokens) override;
  void sum_heads(const Tensor& from, const Tensor& to) override;

  void softmax_merge(const Tensor& block_o, const Tensor& block_lse, const Tensor& o,
                     const Tensor& lse) override;
  void softmax_delta(const Tensor& o, const Tensor& dout, const Tensor& delta) override;
  void softmax_forward(const SoftmaxBlock& block, const Tensor& o, const Tensor& lse) override;
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

 private:
  EmulatedLauncher launcher_;
};

DeviceEntry emulated_entry();

}  // namespace ringside
