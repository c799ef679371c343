// Streams, events and pinned memory of the CUDA runtime as owners.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>

#include "kernels/cuda/call.h"

namespace ringside {

/// A stream of the current device that no other waits for; it ends its work before it goes.
class Stream {
 public:
  Stream() { RINGSIDE_CUDA(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  ~Stream() {
    RINGSIDE_CUDA_NOTHROW(cudaStreamSynchronize(stream_));
    RINGSIDE_CUDA_NOTHROW(cudaStreamDestroy(stream_));
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

/// What a stream of the current device has been given until now. Streams of any device can wait for it.
class CudaEvent {
 public:
  explicit CudaEvent(cudaStream_t stream) {
    RINGSIDE_CUDA(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming));
    record(stream);
  }
  ~CudaEvent() {
    if (event_ != nullptr) RINGSIDE_CUDA_NOTHROW(cudaEventDestroy(event_));
  }
  CudaEvent(CudaEvent&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
  CudaEvent& operator=(CudaEvent&& other) noexcept {
    std::swap(event_, other.event_);
    return *this;
  }

  /// From now on what the stream has been given until now.
  void record(cudaStream_t stream) const { RINGSIDE_CUDA(cudaEventRecord(event_, stream)); }
  cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

/// Page-locked host memory, which copies to and from any device reach without the host. May be given back by
/// any thread, after the device.
inline std::shared_ptr<std::byte> pinned_memory(std::size_t bytes) {
  void* memory = nullptr;
  RINGSIDE_CUDA(cudaHostAlloc(&memory, bytes == 0 ? 1 : bytes, cudaHostAllocPortable));
  return {static_cast<std::byte*>(memory), [](std::byte* p) { RINGSIDE_CUDA_NOTHROW(cudaFreeHost(p)); }};
}

}  // namespace ringside
