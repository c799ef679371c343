// Pinned memory through which host data passes on its way to and from a device.
#pragma once

#include <span>
#include <vector>

#include "kernels/cuda/stream.h"

namespace ringside {

/// Pieces of pinned memory for one device's streams. A piece is not used again before the copy from it is
/// done. Not thread safe.
class Staging {
 public:
  /// device memory <- host memory, behind what the stream was given before; the host memory may change at
  /// once.
  void upload(std::span<const std::byte> host, std::byte* to, cudaStream_t stream);
  /// host memory <- device memory; waits until it is there.
  void download(const std::byte* from, std::span<std::byte> host, cudaStream_t stream);

 private:
  struct Piece {
    std::shared_ptr<std::byte> memory;
    Event done;
  };

  /// One whose copy is done. Waits for the oldest if all are busy.
  Piece& take(cudaStream_t stream);

  std::vector<Piece> pieces_;
  std::size_t next_ = 0;  ///< the one that was used longest ago
};

}  // namespace ringside
