// The CUDA device's memory, and the order of its streams.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>

#include "kernels/checks.h"
#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/launcher.h"
#include "kernels/gpu/guards.h"

namespace ringside {
namespace {

/// Keeps what is freed in the GPU's default pool, and lets the GPUs that can reach each other do so there.
void prepare_pool(int ordinal, int count) {
  cudaMemPool_t pool = nullptr;
  RINGSIDE_CUDA(cudaDeviceGetDefaultMemPool(&pool, ordinal));
  auto threshold = std::numeric_limits<std::uint64_t>::max();
  RINGSIDE_CUDA(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &threshold));
  int off = 0;  // streams wait for events alone, not for memory
  RINGSIDE_CUDA(cudaMemPoolSetAttribute(pool, cudaMemPoolReuseAllowInternalDependencies, &off));
  for (int peer = 0; peer < count; ++peer) {
    int reached = 0;
    if (peer != ordinal) RINGSIDE_CUDA(cudaDeviceCanAccessPeer(&reached, peer, ordinal));
    if (reached == 0) continue;
    cudaMemAccessDesc access{};
    access.location.type = cudaMemLocationTypeDevice;
    access.location.id = peer;
    access.flags = cudaMemAccessFlagsProtReadWrite;
    RINGSIDE_CUDA(cudaMemPoolSetAccess(pool, &access, 1));
  }
}

void wait_for(cudaStream_t stream, const Event& event) {
  if (event) RINGSIDE_CUDA(cudaStreamWaitEvent(stream, static_cast<const CudaEvent*>(event.get())->get()));
}

}  // namespace

CudaDevice::CudaDevice(const DeviceOptions& options) : options_(options) {
  int count = 0;
  RINGSIDE_CUDA(cudaGetDeviceCount(&count));
  ordinal_ = options.local_rank % count;
  enter();
  prepare_pool(ordinal_, count);
  streams_ = std::make_unique<Streams>();
  violation_ = pinned_memory(sizeof(Index));
  *reinterpret_cast<Index*>(violation_.get()) = 0;
}

CudaDevice::~CudaDevice() {
  RINGSIDE_CUDA_NOTHROW(cudaSetDevice(ordinal_));
  RINGSIDE_CUDA_NOTHROW(cudaStreamSynchronize(streams_->compute.get()));
  check_guards();
  require_none_left(live_);
  cublas_.reset();
  streams_.reset();
}

void CudaDevice::enter() const { RINGSIDE_CUDA(cudaSetDevice(ordinal_)); }

CudaLauncher CudaDevice::launcher() {
  enter();
  return {streams_->compute.get(), staging_};
}

Tensor CudaDevice::allocate(const Shape& shape, DType dtype) {
  require_extents("allocate", shape);
  enter();
  const std::size_t bytes = static_cast<std::size_t>(shape.size()) * size_of(dtype);
  const std::size_t guard = options_.poison ? kGuardBytes : 0;
  const cudaStream_t stream = streams_->compute.get();
  void* base = nullptr;
  RINGSIDE_CUDA(cudaMallocAsync(&base, bytes + 2 * guard + (bytes + guard == 0 ? 1 : 0), stream));
  std::byte* const memory = static_cast<std::byte*>(base) + guard;
  const std::size_t live = live_ += bytes;
  std::size_t peak = peak_;
  while (peak < live && !peak_.compare_exchange_weak(peak, live)) {
  }
  Tensor tensor(*this, std::shared_ptr<std::byte>(memory, [this, bytes](std::byte* p) { release(p, bytes); }),
                shape, dtype);
  if (options_.poison) {
    RINGSIDE_CUDA(cudaMemsetAsync(base, kGuardByte, guard, stream));
    RINGSIDE_CUDA(cudaMemsetAsync(memory, kPoisonByte, bytes, stream));
    RINGSIDE_CUDA(cudaMemsetAsync(memory + bytes, kGuardByte, guard, stream));
  }
  return tensor;
}

void CudaDevice::release(std::byte* memory, std::size_t bytes) noexcept {
  live_ -= bytes;
  RINGSIDE_CUDA_NOTHROW(cudaSetDevice(ordinal_));
  const cudaStream_t stream = streams_->compute.get();
  if (options_.poison) {
    try {
      CudaLauncher on(stream, staging_);
      gpu_check_guards(on, memory, bytes, reinterpret_cast<Index*>(violation_.get()));
    } catch (const std::exception& e) {
      std::fprintf(stderr, "ringside: guards not checked: %s\n", e.what());
    }
  }
  RINGSIDE_CUDA_NOTHROW(cudaFreeAsync(memory - (options_.poison ? kGuardBytes : 0), stream));
}

void CudaDevice::check_guards() const {
  const Index found = *reinterpret_cast<const volatile Index*>(violation_.get());
  if (found == 0) return;
  std::fprintf(stderr, "ringside: something wrote %s a tensor of %lld bytes\n",
               found > 0 ? "behind" : "before", static_cast<long long>(found > 0 ? found : -found) - 1);
  std::abort();
}

void CudaDevice::upload(std::span<const std::byte> host, const Tensor& to) {
  require_bytes("upload", host.size(), to);
  enter();
  staging_.upload(host, to.data(), streams_->compute.get());
}

void CudaDevice::download(const Tensor& from, std::span<std::byte> host) {
  require_bytes("download", host.size(), from);
  enter();
  staging_.download(from.data(), host, streams_->compute.get());
  check_guards();
}

void CudaDevice::synchronize() {
  enter();
  RINGSIDE_CUDA(cudaStreamSynchronize(streams_->compute.get()));
  RINGSIDE_CUDA(cudaStreamSynchronize(streams_->communication.get()));
  check_guards();
}

Event CudaDevice::now() {
  enter();
  return std::make_shared<CudaEvent>(streams_->compute.get());
}

void CudaDevice::after(const Event& event) {
  enter();
  wait_for(streams_->compute.get(), event);
}

Event CudaDevice::peer_copy(const Tensor& from, const Event& from_ready, const Tensor& to,
                            const Event& to_ready) {
  require_tensor("peer_copy", "to", to, from.shape(), from.dtype());
  const auto& source = dynamic_cast<const CudaDevice&>(from.device());
  enter();
  // Events lie behind work that was given out before: streams that wait for each other's always come free.
  const cudaStream_t stream = streams_->communication.get();
  wait_for(stream, from_ready);
  wait_for(stream, to_ready);
  if (source.ordinal_ == ordinal_) {
    RINGSIDE_CUDA(cudaMemcpyAsync(to.data(), from.data(), to.size_bytes(), cudaMemcpyDeviceToDevice, stream));
  } else {
    RINGSIDE_CUDA(
        cudaMemcpyPeerAsync(to.data(), ordinal_, from.data(), source.ordinal_, to.size_bytes(), stream));
  }
  return std::make_shared<CudaEvent>(stream);
}

std::shared_ptr<std::byte> CudaDevice::host_memory(std::size_t bytes) {
  enter();
  return pinned_.take(bytes);
}

}  // namespace ringside
