#include "kernels/cuda/staging.h"

#include <algorithm>
#include <cstring>

namespace ringside {
namespace {

constexpr std::size_t kPiece = std::size_t{1} << 20;
constexpr std::size_t kMostPieces = 32;

}  // namespace

Staging::Piece& Staging::take(cudaStream_t stream) {
  const auto busy = [](const Piece& piece) {
    const cudaError_t status = cudaEventQuery(piece.done.get());
    if (status != cudaErrorNotReady) {
      RINGSIDE_CUDA(status);
      return false;
    }
    cudaGetLastError();  // no error, but kept as one
    return true;
  };
  if (pieces_.empty() || (busy(pieces_[next_]) && pieces_.size() < kMostPieces)) {
    return *pieces_.insert(pieces_.begin() + static_cast<std::ptrdiff_t>(next_),
                           Piece{pinned_memory(kPiece), Event(stream)});
  }
  RINGSIDE_CUDA(cudaEventSynchronize(pieces_[next_].done.get()));
  return pieces_[next_];
}

void Staging::upload(std::span<const std::byte> host, std::byte* to, cudaStream_t stream) {
  for (std::size_t done = 0; done < host.size(); done += kPiece) {
    const std::size_t bytes = std::min(kPiece, host.size() - done);
    const Piece& piece = take(stream);
    std::memcpy(piece.memory.get(), host.data() + done, bytes);
    RINGSIDE_CUDA(cudaMemcpyAsync(to + done, piece.memory.get(), bytes, cudaMemcpyHostToDevice, stream));
    piece.done.record(stream);
    next_ = (next_ + 1) % pieces_.size();
  }
}

void Staging::download(const std::byte* from, std::span<std::byte> host, cudaStream_t stream) {
  cudaPointerAttributes attributes{};
  RINGSIDE_CUDA(cudaPointerGetAttributes(&attributes, host.data()));
  const bool pinned = attributes.type == cudaMemoryTypeHost;
  const std::size_t most = pinned ? host.size() : kPiece;
  for (std::size_t done = 0; done < host.size(); done += most) {
    const std::size_t bytes = std::min(most, host.size() - done);
    std::byte* const to = pinned ? host.data() + done : take(stream).memory.get();
    RINGSIDE_CUDA(cudaMemcpyAsync(to, from + done, bytes, cudaMemcpyDeviceToHost, stream));
    RINGSIDE_CUDA(cudaStreamSynchronize(stream));
    if (!pinned) std::memcpy(host.data() + done, to, bytes);
  }
}

}  // namespace ringside
