// Pinned memory that host data pass through.
#pragma once

#include <map>
#include <mutex>
#include <span>
#include <vector>

#include "kernels/cuda/stream.h"

namespace ringside {

/// Page-locked memory that is kept for the next who wants as much: making and freeing it makes the device
/// wait. Any thread may give it back, and after the cache has gone.
class PinnedCache {
 public:
  std::shared_ptr<std::byte> take(std::size_t bytes);

 private:
  struct Free {
    std::mutex mutex;
    std::multimap<std::size_t, std::shared_ptr<std::byte>> blocks;  ///< by size
  };
  std::shared_ptr<Free> free_ = std::make_shared<Free>();
};

/// Pieces of pinned memory for one device's streams, filled one after the other. A piece is not used again
/// before the copies from it are done. Not thread safe.
class Staging {
 public:
  /// device memory <- host memory, behind what the stream was given before; the host memory may change at
  /// once. The host waits if more than 32 MiB are on their way.
  void upload(std::span<const std::byte> host, std::byte* to, cudaStream_t stream);
  /// host memory <- device memory; waits until it is there.
  void download(const std::byte* from, std::span<std::byte> host, cudaStream_t stream);

 private:
  struct Piece {
    std::shared_ptr<std::byte> memory;
    CudaEvent done;  ///< recorded when the piece is left
  };

  /// Makes the next piece the current one: one whose copies are done, a new one if there is none. Waits for
  /// the oldest if there are too many.
  void leave(cudaStream_t stream);

  std::vector<Piece> pieces_;
  std::size_t current_ = 0;
  std::size_t used_ = 0;  ///< bytes of the current piece
};

}  // namespace ringside
