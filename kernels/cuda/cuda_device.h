// The CUDA device: one GPU's memory and kernels for one rank. Operations by file: memory.cu, elementwise.cu,
// unfused.cu, softmax.cu, lightning.cu.
#pragma once

#include <atomic>
#include <memory>

#include "kernels/cuda/cublas.h"
#include "kernels/cuda/staging.h"
#include "kernels/cuda/stream.h"
#include "kernels/cuda/streams.h"
#include "kernels/device.h"

namespace ringside {

class CudaLauncher;  // launcher.h, for files that nvcc compiles

/// Ranks are threads: every operation sets its thread's current device. Operations run on one stream,
/// peer_copy() on another, both for this object alone.
///
/// Memory is allocated and freed in the order of the operations' stream, so what was called before a tensor
/// goes still has it. peer_copy() may still read or write a tensor on another stream: whoever called it keeps
/// both tensors until after() has made this stream wait for the copy, which the free is then behind.
class CudaDevice : public Device {
 public:
  explicit CudaDevice(const DeviceOptions& options);
  ~CudaDevice() override;

  std::string_view name() const override { return "cuda"; }
  bool flushes_denormals() const override { return false; }

  Tensor allocate(const Shape& shape, DType dtype) override;
  void upload(std::span<const std::byte> host, const Tensor& to) override;
  void download(const Tensor& from, std::span<std::byte> host) override;
  void fill(const Tensor& x, float value) override;
  void copy(const Tensor& from, const Tensor& to) override;
  void add(const Tensor& from, const Tensor& to) override;
  void copy_part(const Tensor& from, Corner from_at, const Tensor& to, Corner to_at, Index heads,
                 Index tokens) override;
  void sum_heads(const Tensor& from, const Tensor& to) override;
  void synchronize() override;
  MemoryUse memory() const override { return {live_, peak_}; }
  void reset_peak() override { peak_ = live_.load(); }
  Event now() override;
  void after(const Event& event) override;
  Event peer_copy(const Tensor& from, const Event& from_ready, const Tensor& to,
                  const Event& to_ready) override;
  bool in_host_memory() const override { return false; }
  std::shared_ptr<std::byte> host_memory(std::size_t bytes) override;

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

 private:
  /// The launcher of this device's operations; makes the device the thread's current one.
  CudaLauncher launcher();
  /// Makes the device the thread's current one.
  void enter() const;
  void release(std::byte* memory, std::size_t bytes) noexcept;
  /// Ends the process if something wrote beside a tensor that was freed before the host last waited.
  void check_guards() const;

  friend CudaStreams streams_of(Device& device);

  struct Streams {
    Stream compute, communication;
  };

  DeviceOptions options_;
  int ordinal_;  ///< of the GPU
  std::unique_ptr<Streams> streams_;
  Staging staging_;
  PinnedCache pinned_;  ///< of host_memory()
  std::unique_ptr<Cublas> cublas_;
  /// Pinned, written by the GPU: bytes of a tensor beside which something wrote, negative if before it.
  std::shared_ptr<std::byte> violation_;
  // Atomic, as the last handle of a tensor that was sent may go in the receiver's thread.
  std::atomic<std::size_t> live_ = 0;
  std::atomic<std::size_t> peak_ = 0;
};

}  // namespace ringside
