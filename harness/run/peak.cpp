#include "harness/run/peak.h"

#include <algorithm>
#include <limits>
#include <mutex>
#include <vector>

#include "harness/base/bytes.h"
#include "harness/base/stopwatch.h"

namespace ringside {

double matmul_peak(DType dtype, Math math, const DeviceEntry& entry, Fleet& fleet) {
  constexpr int kTimes = 5;
  std::vector<std::byte> here;
  append_bytes(here, fleet.ranks_at_once(entry));  // nodes may differ
  int ranks = std::numeric_limits<int>::max();
  for (const auto& from : fleet.processes().all_gather(here, "ranks at once")) {
    std::span<const std::byte> rest = from;
    ranks = std::min(ranks, take_bytes<int>(rest, 1)[0]);
  }
  double slowest_s = 0;  // of the ranks in this process
  Index n = 0;
  std::mutex mutex;
  fleet.run(ranks, [&](Communicator& world) {
    const auto device = entry.make({.math = math, .local_rank = fleet.rank_on_node(world.rank())});
    const Index size = device->in_host_memory() ? 512 : 8192;
    const auto matrix = [&](DType of) {
      const Tensor x = device->allocate({1, 1, size, size}, of);
      device->fill(x, 0.5F);
      return x;
    };
    const Tensor a = matrix(dtype), b = matrix(dtype), c = matrix(DType::fp32);
    std::vector<double> seconds;
    world.barrier();
    for (int i = -1; i < kTimes; ++i) {  // the first one warms up
      Stopwatch watch;
      device->matmul(a, Transpose::no, b, Transpose::no, c, false, Causal::none, {0, size});
      device->synchronize();
      if (i >= 0) seconds.push_back(watch.lap());
    }
    const double median_s = Timing::of(std::move(seconds)).median_s;
    const std::lock_guard lock(mutex);
    slowest_s = std::max(slowest_s, median_s);
    n = size;
  });
  std::vector<std::byte> mine;
  append_bytes(mine, n > 0 ? slowest_s / (2.0 * static_cast<double>(n * n * n)) : 0.0);
  double s_per_flop = 0;
  for (const auto& from : fleet.processes().all_gather(mine, "matrix product of each process")) {
    std::span<const std::byte> rest = from;
    s_per_flop = std::max(s_per_flop, take_bytes<double>(rest, 1)[0]);
  }
  return ranks / s_per_flop / 1e12;
}

}  // namespace ringside
