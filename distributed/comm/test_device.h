// A device that only stores: for tests of what moves tensors about.
#pragma once

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "kernels/device.h"

namespace ringside::test {

/// Host memory; allocate, upload, download, fill, same-type copy and fp32 add work, everything else throws
/// std::logic_error.
class TestDevice : public Device {
 public:
  std::string_view name() const override { return "test"; }
  bool flushes_denormals() const override { return false; }

  Tensor allocate(const Shape& shape, DType dtype) override {
    const auto bytes = static_cast<std::size_t>(shape.size()) * size_of(dtype);
    return {*this, std::shared_ptr<std::byte>(new std::byte[bytes], std::default_delete<std::byte[]>()),
            shape, dtype};
  }
  void upload(std::span<const std::byte> host, const Tensor& to) override {
    if (host.size() != to.size_bytes()) throw std::logic_error("upload: sizes differ");
    std::ranges::copy(host, to.data());
  }
  void download(const Tensor& from, std::span<std::byte> host) override {
    if (host.size() != from.size_bytes()) throw std::logic_error("download: sizes differ");
    std::copy_n(from.data(), host.size(), host.data());
  }
  void fill(const Tensor& x, float value) override {
    with_type(x.dtype(), [&]<typename T>(T) {
      for (T& element : x.view<T>().all()) element = from_float<T>(value);
    });
  }
  void copy(const Tensor& from, const Tensor& to) override {
    if (from.shape() != to.shape() || from.dtype() != to.dtype())
      throw std::logic_error("copy: tensors differ");
    std::copy_n(from.data(), from.size_bytes(), to.data());
  }
  void add(const Tensor& from, const Tensor& to) override {
    if (from.shape() != to.shape()) throw std::logic_error("add: tensors differ");
    const std::span<float> sum = to.view<float>().all(), share = from.view<float>().all();
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += share[i];
  }
  void copy_part(const Tensor&, Corner, const Tensor&, Corner, Index, Index) override { none(); }
  void sum_heads(const Tensor&, const Tensor&) override { none(); }
  void synchronize() override {}
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
  MemoryUse memory() const override { none(); }
  void reset_peak() override { none(); }

  void softmax_forward(const SoftmaxBlock&, const Tensor&, const Tensor&) override { none(); }
  void softmax_merge(const Tensor&, const Tensor&, const Tensor&, const Tensor&) override { none(); }
  void softmax_delta(const Tensor&, const Tensor&, const Tensor&) override { none(); }
  void softmax_backward(const SoftmaxBlock&, const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                        const Tensor&, const Tensor&) override {
    none();
  }
  void lightning_forward(const LightningChunk&, const Tensor&, const Tensor&) override { none(); }
  void lightning_backward(const LightningChunk&, const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                          const Tensor&, const Tensor&) override {
    none();
  }
  void lightning_states(const Tensor&, const Tensor&, std::span<const float>, const Documents&, Index, Toward,
                        const Tensor&) override {
    none();
  }
  void lightning_scan(const Tensor&, std::span<const float>, const Documents&, Index, Index, Toward,
                      const Tensor&) override {
    none();
  }
  void lightning_forward_blocks(const LightningChunk&, const BlockStates&, const Tensor&) override { none(); }
  void lightning_backward_blocks(const LightningChunk&, const Tensor&, const BlockStates&, const BlockStates&,
                                 const Tensor&, const Tensor&, const Tensor&) override {
    none();
  }
  void matmul(const Tensor&, Transpose, const Tensor&, Transpose, const Tensor&, bool, Causal,
              TokenSpan) override {
    none();
  }
  void decay_scores(const Tensor&, std::span<const float>, TokenSpan) override { none(); }
  void decay_rows(const Tensor&, std::span<const float>, Decay, const Tensor&) override { none(); }

 private:
  [[noreturn]] static void none() { throw std::logic_error("the test device computes nothing"); }
};

/// `count` fp32 elements, all `value`.
inline Tensor filled(Device& device, Index count, float value) {
  const Tensor tensor = device.allocate({1, 1, 1, count}, DType::fp32);
  device.fill(tensor, value);
  return tensor;
}

/// The elements of an fp32 tensor.
inline std::vector<float> values(const Tensor& tensor) {
  std::vector<float> host(static_cast<std::size_t>(tensor.shape().size()));
  tensor.device().download(tensor, std::as_writable_bytes(std::span(host)));
  return host;
}

}  // namespace ringside::test
