// Kernels in which a warp has a row.
#pragma once

#include "kernels/gpu/launch.h"

namespace ringside {

inline constexpr int kLanes = 32;

/// f(machine, row, lane) for all rows, each by one warp: f may use what warps have. F is a functor with
///   template <typename Machine> RINGSIDE_DEVICE void operator()(Machine, Index row, int lane) const
template <typename F>
struct EachRow {
  static constexpr int kThreads = 256;
  static constexpr int kRows = kThreads / kLanes;
  Index count;
  F f;

  template <typename Machine>
  RINGSIDE_DEVICE void run() const {
    const int lane = Machine::thread() % kLanes;
    for (Index row = Machine::block() * kRows + Machine::thread() / kLanes; row < count;
         row += Machine::blocks() * kRows) {
      f(Machine{}, row, lane);
    }
  }
};

template <typename Launcher, typename F>
void launch_rows(Launcher& launcher, Index rows, const F& f) {
  constexpr Index kMostBlocks = 16384, kRows = EachRow<F>::kRows;
  const Index blocks = (rows + kRows - 1) / kRows;
  launcher.launch(EachRow<F>{rows, f}, blocks < kMostBlocks ? blocks : kMostBlocks);
}

/// The sum of all lanes' x, in each lane, in one order.
template <typename Machine>
RINGSIDE_DEVICE float sum_of_lanes(float x) {
  RINGSIDE_UNROLL
  for (int mask = kLanes / 2; mask > 0; mask /= 2) x += Machine::shuffle_xor(x, mask);
  return x;
}

}  // namespace ringside
