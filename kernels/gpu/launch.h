// Launches kernels on whatever machine runs them.
//
// A launcher has
//   launch(kernel, blocks, shared_bytes = 0)   runs the kernel behind what was launched before, if blocks > 0
//   upload(std::span<const T>)                 a copy in the machine's memory, an Array<T>
//   scratch<T>(count)                          an uninitialised Array<T>
// An array has data(), an address for kernels, and may go at once: its memory lives until what was launched
// before is done. cuda/launcher.h and emulated/launcher.h are the two.
#pragma once

#include "kernels/gpu/machine.h"
#include "reference/view.h"

namespace ringside {

/// f(i) for all i < count, each by one thread. F is a functor whose operator()(Index) is RINGSIDE_DEVICE.
template <typename F>
struct Each {
  static constexpr int kThreads = 256;
  Index count;
  F f;

  template <typename Machine>
  RINGSIDE_DEVICE void run() const {
    for (Index i = Machine::block() * kThreads + Machine::thread(); i < count;
         i += Machine::blocks() * kThreads) {
      f(i);
    }
  }
};

template <typename Launcher, typename F>
void launch_each(Launcher& launcher, Index count, const F& f) {
  constexpr Index kMostBlocks = 4096;  // several for each multiprocessor of any GPU
  constexpr int kThreads = Each<F>::kThreads;
  const Index blocks = (count + kThreads - 1) / kThreads;
  launcher.launch(Each<F>{count, f}, blocks < kMostBlocks ? blocks : kMostBlocks);
}

}  // namespace ringside
