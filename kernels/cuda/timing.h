// Times device operations by events, beside their ceilings.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <optional>
#include <random>
#include <vector>

#include "kernels/cuda/call.h"
#include "kernels/cuda/cublas.h"
#include "kernels/cuda/streams.h"
#include "kernels/device.h"

namespace ringside {

/// Milliseconds a call.
struct Times {
  double median = 0, least = 0, most = 0;
  int samples = 0;
};

/// Times what is put on a device's compute stream, by events on it; on a device that is no GPU, by the host's
/// clock.
class Timer {
 public:
  explicit Timer(Device& device) : device_(device) {
    if (device.name() != "cuda") return;
    stream_ = streams_of(device).compute;
    for (cudaEvent_t& event : events_) RINGSIDE_CUDA(cudaEventCreate(&event));
    void* memory = nullptr;
    RINGSIDE_CUDA(cudaMalloc(&memory, 2 * kFillerBytes));
    filler_ = static_cast<std::byte*>(memory);
  }
  ~Timer() {
    if (!stream_) return;
    for (const cudaEvent_t event : events_) RINGSIDE_CUDA_NOTHROW(cudaEventDestroy(event));
    RINGSIDE_CUDA_NOTHROW(cudaFree(filler_));
  }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  /// Of call(0), call(1), …: three to warm up, then `samples` measurements of `calls` calls each. Before each
  /// measurement the stream is given a copy that takes some half a millisecond, so that the host is ahead and
  /// its time for launching does not count.
  Times measure(const std::function<void(int)>& call, int samples, int calls) {
    int number = 0;
    for (int i = 0; i < 3; ++i) call(number++);
    std::vector<double> ms;
    for (int sample = 0; sample < samples; ++sample) {
      device_.synchronize();
      const auto begin = std::chrono::steady_clock::now();
      if (stream_) {
        copy_filler();
        RINGSIDE_CUDA(cudaEventRecord(events_[0], *stream_));
      }
      for (int i = 0; i < calls; ++i) call(number++);
      if (stream_) {
        RINGSIDE_CUDA(cudaEventRecord(events_[1], *stream_));
        RINGSIDE_CUDA(cudaEventSynchronize(events_[1]));
        float elapsed = 0;
        RINGSIDE_CUDA(cudaEventElapsedTime(&elapsed, events_[0], events_[1]));
        ms.push_back(static_cast<double>(elapsed) / calls);
      } else {
        device_.synchronize();
        const std::chrono::duration<double, std::milli> elapsed = std::chrono::steady_clock::now() - begin;
        ms.push_back(elapsed.count() / calls);
      }
    }
    std::ranges::sort(ms);
    return {ms[ms.size() / 2], ms.front(), ms.back(), samples};
  }

  /// GB/s of a copy within the device's memory, bytes read and bytes written.
  double copy_rate() {
    const Times times = measure([this](int) { copy_filler(); }, 15, 4);
    return 2 * static_cast<double>(kFillerBytes) / times.median * 1e-6;
  }

  /// TFLOP/s of cuBLAS on the product of two square bf16 matrices of normal values, bf16 out, fp32 sums.
  double product_rate(Index size) {
    std::mt19937 generator(9);
    std::normal_distribution<float> normal;
    std::vector<BFloat16> host(static_cast<std::size_t>(size * size));
    for (BFloat16& x : host) x = to_bf16(normal(generator));
    const Shape shape{1, 1, size, size};
    const Tensor a = device_.allocate(shape, DType::bf16), b = device_.allocate(shape, DType::bf16);
    const Tensor c = device_.allocate(shape, DType::bf16);
    device_.upload(std::as_bytes(std::span(host)), a);
    std::ranges::reverse(host);
    device_.upload(std::as_bytes(std::span(host)), b);
    const Cublas cublas(*stream_);
    const float one = 1, zero = 0;
    const auto product = [&](int) {
      cublas_check(
          cublas_functions().gemm(cublas.get(), CUBLAS_OP_N, CUBLAS_OP_N, size, size, size, &one, a.data(),
                                  CUDA_R_16BF, size, 0, b.data(), CUDA_R_16BF, size, 0, &zero, c.data(),
                                  CUDA_R_16BF, size, 0, 1, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
          "gemm");
    };
    const Times times = measure(product, 15, 4);
    device_.synchronize();
    const auto n = static_cast<double>(size);
    return 2 * n * n * n / times.median * 1e-9;
  }

 private:
  static constexpr std::size_t kFillerBytes = std::size_t{1} << 30;

  void copy_filler() {
    RINGSIDE_CUDA(
        cudaMemcpyAsync(filler_ + kFillerBytes, filler_, kFillerBytes, cudaMemcpyDeviceToDevice, *stream_));
  }

  Device& device_;
  std::optional<cudaStream_t> stream_;
  cudaEvent_t events_[2] = {};
  std::byte* filler_ = nullptr;
};

}  // namespace ringside
