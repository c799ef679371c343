// Large blocks of memory that were given back, kept for the next request of the same size.
#pragma once

#include <cstdlib>
#include <map>
#include <mutex>

#include "kernels/cpu/buffer.h"

namespace ringside {

/// A variant asks for the same tensors in every step and pass. Memory fresh from the system costs a fault a
/// page, on virtual machines one in the host as well: a quarter of a sweep's processor time before blocks
/// were kept. Small blocks are left to malloc, which keeps them itself. Thread safe: a tensor's last handle
/// may go in another thread.
class BlockCache {
 public:
  BlockCache() = default;
  BlockCache(const BlockCache&) = delete;
  BlockCache& operator=(const BlockCache&) = delete;
  ~BlockCache() {
    for (const auto& [bytes, memory] : kept_) std::free(memory);
  }

  /// Aligned, uninitialised. Throws std::bad_alloc.
  std::byte* take(std::size_t bytes) {
    if (bytes >= kSmallest) {
      const std::lock_guard lock(mutex_);
      if (const auto block = kept_.find(bytes); block != kept_.end()) {
        std::byte* memory = block->second;
        kept_.erase(block);
        return memory;
      }
    }
    return aligned_bytes(bytes);
  }

  void give_back(std::byte* memory, std::size_t bytes) {
    if (bytes < kSmallest) {
      std::free(memory);
      return;
    }
    const std::lock_guard lock(mutex_);
    kept_.emplace(bytes, memory);
  }

 private:
  static constexpr std::size_t kSmallest = std::size_t{1}
                                           << 17;  // malloc's own threshold for asking the system

  std::mutex mutex_;
  std::multimap<std::size_t, std::byte*> kept_;
};

}  // namespace ringside
