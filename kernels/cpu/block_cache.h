// Cache of freed memory blocks for requests of like size.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>
#include <new>
#include <unordered_map>

#include "kernels/cpu/buffer.h"

namespace ringside {

/// What all CPU devices of a process take large tensors from. A variant asks for the same tensors in every
/// step, pass and case. Memory fresh from the system costs a fault a page, on virtual machines one in the
/// host as well: a fifth of a sweep's processor time even with blocks kept by each device, as malloc loses
/// aligned blocks to fragmentation. Small blocks are left to malloc. Thread safe.
class BlockCache {
 public:
  BlockCache() = default;
  BlockCache(const BlockCache&) = delete;
  BlockCache& operator=(const BlockCache&) = delete;
  ~BlockCache() { drop_kept(); }

  /// Aligned, uninitialised. Throws std::bad_alloc.
  std::byte* take(std::size_t bytes) {
    if (bytes < kSmallest) return aligned_bytes(bytes);
    const std::lock_guard lock(mutex_);
    const auto block = kept_.lower_bound(bytes);
    if (block != kept_.end() && block->first <= 2 * bytes) {
      const auto [size, memory] = *block;
      kept_.erase(block);
      kept_bytes_ -= size;
      use(memory, size);
      return memory;
    }
    // Kept and used together stay within what was once used at a time, and a quarter.
    while (!kept_.empty() && used_bytes_ + kept_bytes_ + bytes > (most_used_ + bytes) / 4 * 5) {
      const auto smallest = kept_.begin();
      kept_bytes_ -= smallest->first;
      std::free(smallest->second);
      kept_.erase(smallest);
    }
    std::byte* memory = nullptr;
    try {
      memory = aligned_bytes(bytes);
    } catch (const std::bad_alloc&) {  // not while other blocks are kept
      drop_kept();
      memory = aligned_bytes(bytes);
    }
    use(memory, bytes);
    return memory;
  }

  /// `bytes` as in take().
  void give_back(std::byte* memory, std::size_t bytes) {
    if (bytes < kSmallest) {
      std::free(memory);
      return;
    }
    const std::lock_guard lock(mutex_);
    const auto block = used_.find(memory);
    used_bytes_ -= block->second;
    kept_bytes_ += block->second;
    kept_.emplace(block->second, memory);
    used_.erase(block);
  }

 private:
  static constexpr std::size_t kSmallest = std::size_t{1}
                                           << 17;  // malloc's own threshold for asking the system

  void drop_kept() {
    for (const auto& [bytes, memory] : kept_) std::free(memory);
    kept_.clear();
    kept_bytes_ = 0;
  }
  void use(std::byte* memory, std::size_t bytes) {
    used_.emplace(memory, bytes);
    used_bytes_ += bytes;
    most_used_ = std::max(most_used_, used_bytes_);
  }

  std::mutex mutex_;
  std::multimap<std::size_t, std::byte*> kept_;       // by size
  std::unordered_map<std::byte*, std::size_t> used_;  // their sizes, which may exceed what was asked for
  std::size_t kept_bytes_ = 0, used_bytes_ = 0, most_used_ = 0;
};

/// The process's.
inline BlockCache& block_cache() {
  static BlockCache cache;
  return cache;
}

}  // namespace ringside
