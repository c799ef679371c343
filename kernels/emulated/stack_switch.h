// Tells the address sanitizer of stack switches.
#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace ringside {

/// Memory in which a stack lies.
struct StackBounds {
  const void* bottom = nullptr;
  std::size_t bytes = 0;
};

#if defined(__SANITIZE_ADDRESS__)
/// Leaves a stack for good. Call it right before.
inline void leave_stack(const StackBounds& to) {
  __sanitizer_start_switch_fiber(nullptr, to.bottom, to.bytes);
}
/// First call on a new stack; returns the bounds of the one from which it was entered.
inline StackBounds enter_stack() {
  StackBounds from;
  __sanitizer_finish_switch_fiber(nullptr, &from.bottom, &from.bytes);
  return from;
}
/// Lives on a stack while code runs on another: from right before the switch until right after the return, be
/// it by an exception.
class AwayFromStack {
 public:
  explicit AwayFromStack(const StackBounds& to) {
    __sanitizer_start_switch_fiber(&fake_, to.bottom, to.bytes);
  }
  ~AwayFromStack() { __sanitizer_finish_switch_fiber(fake_, nullptr, nullptr); }
  AwayFromStack(const AwayFromStack&) = delete;
  AwayFromStack& operator=(const AwayFromStack&) = delete;

 private:
  void* fake_ = nullptr;
};
#else
inline void leave_stack(const StackBounds&) {}
inline StackBounds enter_stack() { return {}; }
struct AwayFromStack {
  explicit AwayFromStack(const StackBounds&) {}
  ~AwayFromStack() {}  // user-provided: no "unused variable"
};
#endif

}  // namespace ringside
