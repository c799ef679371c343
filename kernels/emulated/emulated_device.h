// A CPU device whose attention is computed by the GPU's kernels, on an emulated GPU: to judge the kernels.
#pragma once

#include "kernels/cpu/cpu_device.h"
#include "kernels/emulated/launcher.h"

namespace ringside {

/// Memory and the matrix products of the unfused pieces are the CPU's.
class EmulatedDevice final : public CpuDevice {
 public:
  explicit EmulatedDevice(CpuOptions options) : CpuDevice(options) {}

  std::string_view name() const override { return "emulated"; }

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

 private:
  EmulatedLauncher launcher_;
};

DeviceEntry emulated_entry();

}  // namespace ringside
