// The launcher of gpu/launch.h for GPUs. For files that nvcc compiles.
#pragma once

#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "kernels/cuda/machine.cuh"
#include "kernels/cuda/staging.h"
#include "kernels/gpu/launch.h"

namespace ringside {

/// Uninitialised memory of the stream's device, in the stream's order: it is there for what the stream is
/// given from now on, and goes behind what it was given when the array goes.
template <typename T>
class CudaArray {
 public:
  CudaArray(Index count, cudaStream_t stream) : stream_(stream) {
    const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(T);
    void* memory = nullptr;
    RINGSIDE_CUDA(cudaMallocAsync(&memory, bytes == 0 ? 1 : bytes, stream));
    data_ = static_cast<T*>(memory);
  }
  ~CudaArray() {
    if (data_ != nullptr) RINGSIDE_CUDA_NOTHROW(cudaFreeAsync(data_, stream_));
  }
  CudaArray(CudaArray&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), stream_(other.stream_) {}
  CudaArray& operator=(CudaArray&&) = delete;

  T* data() const { return data_; }

 private:
  T* data_ = nullptr;
  cudaStream_t stream_;
};

/// Launches on one stream of the current device.
class CudaLauncher {
 public:
  template <typename T>
  using Array = CudaArray<T>;

  CudaLauncher(cudaStream_t stream, Staging& staging) : stream_(stream), staging_(&staging) {}

  template <typename Kernel>
  void launch(const Kernel& kernel, Index blocks, std::size_t shared_bytes = 0) const {
    static_assert(std::is_trivially_copyable_v<Kernel> && Kernel::kThreads <= 1024);
    constexpr Index kMostBlocks = 0x7fffffff;
    constexpr std::size_t kSharedByDefault = 48 * 1024;
    if (blocks == 0) return;
    if (blocks < 0 || blocks > kMostBlocks)
      throw std::invalid_argument("launch: " + std::to_string(blocks) + " blocks");
    if (shared_bytes > kSharedByDefault) {
      RINGSIDE_CUDA(cudaFuncSetAttribute(run_kernel<Kernel>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                         static_cast<int>(shared_bytes)));
    }
    // Not <<<>>>, whose errors are those of whoever failed last in this thread.
    void* arguments[] = {const_cast<Kernel*>(&kernel)};
    RINGSIDE_CUDA(cudaLaunchKernel(run_kernel<Kernel>, static_cast<unsigned>(blocks), Kernel::kThreads,
                                   arguments, shared_bytes, stream_));
  }

  template <typename T>
  CudaArray<T> scratch(Index count) const {
    return {count, stream_};
  }

  template <typename T>
  CudaArray<T> upload(std::span<const T> host) const {
    CudaArray<T> array(std::ssize(host), stream_);
    staging_->upload(std::as_bytes(host), reinterpret_cast<std::byte*>(array.data()), stream_);
    return array;
  }

  cudaStream_t stream() const { return stream_; }

 private:
  cudaStream_t stream_;
  Staging* staging_;
};

}  // namespace ringside
