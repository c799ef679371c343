#include "kernels/cuda/staging.h"

#include <algorithm>
#include <cstring>

namespace ringside {
namespace {

constexpr std::size_t kPiece = std::size_t{1} << 20;
constexpr std::size_t kMostPieces = 32;
constexpr std::size_t kAligned = 64;

bool is_busy(const CudaEvent& event) {
  const cudaError_t status = cudaEventQuery(event.get());
  if (status != cudaErrorNotReady) RINGSIDE_CUDA(status);
  return status == cudaErrorNotReady;
}

}  // namespace

std::shared_ptr<std::byte> PinnedCache::take(std::size_t bytes) {
  std::shared_ptr<std::byte> block;
  {
    const std::lock_guard lock(free_->mutex);
    if (auto node = free_->blocks.extract(bytes)) block = std::move(node.mapped());
  }
  if (!block) block = pinned_memory(bytes);
  std::byte* const memory = block.get();
  return {memory, [bytes, block = std::move(block), free = free_](std::byte*) mutable {
            const std::lock_guard lock(free->mutex);
            free->blocks.emplace(bytes, std::move(block));
          }};
}

void Staging::leave(cudaStream_t stream) {
  if (!pieces_.empty()) {
    pieces_[current_].done.record(stream);
    current_ = (current_ + 1) % pieces_.size();
  }
  used_ = 0;
  if (pieces_.empty() || (pieces_.size() < kMostPieces && is_busy(pieces_[current_].done))) {
    pieces_.insert(pieces_.begin() + static_cast<std::ptrdiff_t>(current_),
                   Piece{pinned_memory(kPiece), CudaEvent(stream)});
    return;
  }
  RINGSIDE_CUDA(cudaEventSynchronize(pieces_[current_].done.get()));
}

void Staging::upload(std::span<const std::byte> host, std::byte* to, cudaStream_t stream) {
  while (!host.empty()) {
    if (pieces_.empty() || used_ == kPiece) leave(stream);
    const std::size_t bytes = std::min(kPiece - used_, host.size());
    std::byte* const staged = pieces_[current_].memory.get() + used_;
    std::memcpy(staged, host.data(), bytes);
    RINGSIDE_CUDA(cudaMemcpyAsync(to, staged, bytes, cudaMemcpyHostToDevice, stream));
    used_ = std::min(kPiece, (used_ + bytes + kAligned - 1) / kAligned * kAligned);
    host = host.subspan(bytes);
    to += bytes;
  }
}

void Staging::download(const std::byte* from, std::span<std::byte> host, cudaStream_t stream) {
  if (host.empty()) return RINGSIDE_CUDA(cudaStreamSynchronize(stream));
  cudaPointerAttributes attributes{};
  RINGSIDE_CUDA(cudaPointerGetAttributes(&attributes, host.data()));
  const bool pinned = attributes.type == cudaMemoryTypeHost;
  const std::size_t most = pinned ? host.size() : kPiece;
  for (std::size_t done = 0; done < host.size(); done += most) {
    const std::size_t bytes = std::min(most, host.size() - done);
    if (!pinned) leave(stream);
    std::byte* const to = pinned ? host.data() + done : pieces_[current_].memory.get();
    RINGSIDE_CUDA(cudaMemcpyAsync(to, from + done, bytes, cudaMemcpyDeviceToHost, stream));
    RINGSIDE_CUDA(cudaStreamSynchronize(stream));
    if (!pinned) std::memcpy(host.data() + done, to, bytes);
  }
}

}  // namespace ringside
