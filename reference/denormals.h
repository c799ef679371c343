// Denormals: whether this thread keeps or flushes them.
#pragma once

#include <cstdint>

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace ringside {

/// Sets how the calling thread treats denormal operands and results, until it is destroyed:
///   const DenormalMode guard(DenormalMode::flush);
/// Threads inherit the mode of the thread that makes them, so whoever depends on it sets it. It governs calls
/// made under the guard; a compiler may move single operations of the same function across it. On a machine
/// other than x86-64 and arm64 the mode cannot be changed: denormals are kept, and flushing() is false.
class DenormalMode {
 public:
  enum Mode { keep, flush };

  explicit DenormalMode(Mode mode) : before_(read()) {
    write(mode == flush ? before_ | kFlushBits : before_ & ~kFlushBits);
  }
  ~DenormalMode() { write((read() & ~kFlushBits) | (before_ & kFlushBits)); }
  DenormalMode(const DenormalMode&) = delete;
  DenormalMode& operator=(const DenormalMode&) = delete;

  /// True if the calling thread takes denormal operands and results as zero.
  static bool flushing() { return kFlushBits != 0 && (read() & kFlushBits) == kFlushBits; }

 private:
#if defined(__SSE2__)
  using Register = std::uint32_t;
  static constexpr Register kFlushBits = 0x8040;  // MXCSR: flush-to-zero, denormals-are-zero
  static Register read() { return _mm_getcsr(); }
  static void write(Register value) { _mm_setcsr(value); }
#elif defined(__aarch64__)
  using Register = std::uint64_t;
  static constexpr Register kFlushBits = 0x1000000;  // FPCR.FZ: operands and results
  static Register read() {
    Register value = 0;
    asm volatile("mrs %0, fpcr" : "=r"(value));
    return value;
  }
  static void write(Register value) { asm volatile("msr fpcr, %0" : : "r"(value)); }
#else
  using Register = std::uint32_t;
  static constexpr Register kFlushBits = 0;
  static Register read() { return 0; }
  static void write(Register) {}
#endif

  Register before_;
};

}  // namespace ringside
