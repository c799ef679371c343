// Work that no commit changes, run beside every arm: if its time departs, the machine did it.
#pragma once

#include <vector>

namespace ringside {

/// Seconds of each of `repetitions` of a matrix product, a copy and an all-to-all on so many threads, a few
/// milliseconds in all, the slowest thread's, after a barrier. Always of the host, whatever the device. Plain
/// loops over plain memory: nothing of the kernels or communicators is in it, and the gate runs it in its own
/// process for both arms.
std::vector<double> run_control(int threads, int repetitions);

}  // namespace ringside
