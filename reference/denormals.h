// Whether the calling thread's floating-point unit takes denormal numbers as zero.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#elif !defined(__aarch64__)
#error "denormals.h knows x86-64 and arm64"
#endif

namespace ringside {

/// Sets the calling thread's denormal mode for this object's life and restores the previous one. Threads
/// inherit the mode of their creator, so whoever depends on it sets it.
class DenormalMode {
 public:
  /// keep: IEEE gradual underflow. flush: denormal operands and results are zero (FTZ and DAZ in MXCSR on
  /// x86, FZ in FPCR on arm64).
  enum Mode { keep, flush };

  explicit DenormalMode(Mode mode) : before_(read()) {
    write(mode == flush ? before_ | kFlushBits : before_ & ~kFlushBits);
  }
  ~DenormalMode() { write(before_); }
  DenormalMode(const DenormalMode&) = delete;
  DenormalMode& operator=(const DenormalMode&) = delete;

  /// The calling thread's mode; flush only if operands and results are both flushed.
  static Mode current() { return (read() & kFlushBits) == kFlushBits ? flush : keep; }

 private:
#if defined(__x86_64__)
  using Register = std::uint32_t;
  static constexpr Register kFlushBits = 0x8040;  // FTZ, DAZ
  static Register read() { return _mm_getcsr(); }
  static void write(Register value) { _mm_setcsr(value); }
#else
  using Register = std::uint64_t;
  static constexpr Register kFlushBits = 1u << 24;  // FZ
  static Register read() {
    Register value;
    asm volatile("mrs %0, fpcr" : "=r"(value));
    return value;
  }
  static void write(Register value) { asm volatile("msr fpcr, %0" : : "r"(value)); }
#endif

  Register before_;
};

}  // namespace ringside
