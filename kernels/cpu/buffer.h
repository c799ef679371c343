// Aligned memory of the CPU device.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <stdexcept>

#include "reference/view.h"

namespace ringside {

/// A cache line, and the widest vector.
inline constexpr std::size_t kAlignment = 64;

/// Large arrays are asked for in huge pages: fresh memory costs a fault a page, which took a fifth of a
/// sweep's time.
inline constexpr std::size_t kHugePage = std::size_t{2} << 20;

/// Uninitialised; free with std::free. Throws std::bad_alloc.
inline std::byte* aligned_bytes(std::size_t bytes) {
  const std::size_t alignment = bytes < 2 * kHugePage ? kAlignment : kHugePage;
  const std::size_t padded = (bytes / alignment + 1) * alignment;
  void* memory = std::aligned_alloc(alignment, padded);
  if (memory == nullptr) throw std::bad_alloc();
  if (alignment == kHugePage) madvise(memory, padded, MADV_HUGEPAGE);  // advice: a refusal costs only time
  return static_cast<std::byte*>(memory);
}

/// An uninitialised, aligned array of floats.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(Index count)
      : size_(count),
        memory_(reinterpret_cast<float*>(aligned_bytes(static_cast<std::size_t>(count) * sizeof(float)))) {}

  float* data() const { return memory_.get(); }
  Index size() const { return size_; }

 private:
  struct Free {
    void operator()(float* memory) const { std::free(memory); }
  };
  Index size_ = 0;
  std::unique_ptr<float, Free> memory_;
};

/// A stack of scratch arrays: what was taken after a Scope began is given back when it ends.
class Workspace {
 public:
  explicit Workspace(Index floats) : buffer_(floats) {}

  class Scope {
   public:
    explicit Scope(Workspace& workspace) : workspace_(workspace), mark_(workspace.used_) {}
    ~Scope() { workspace_.used_ = mark_; }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Workspace& workspace_;
    Index mark_;
  };

  /// `count` uninitialised floats, aligned. Throws std::logic_error if the stack was made too small.
  float* take(Index count) {
    constexpr Index line = kAlignment / sizeof(float);
    const Index begin = used_;
    used_ += (count + line - 1) / line * line;
    if (used_ > buffer_.size()) throw std::logic_error("CPU workspace too small for a tile");
    return buffer_.data() + begin;
  }

 private:
  Buffer buffer_;
  Index used_ = 0;
};

}  // namespace ringside
