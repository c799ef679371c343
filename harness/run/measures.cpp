#include "harness/run/measures.h"

#include <algorithm>
#include <cstddef>
#include <span>

#include "harness/base/bytes.h"

namespace ringside {

IterationTimes share_measures(const std::vector<RankRun>& mine, Fleet& fleet,
                              std::vector<RankMeasure>& ranks) {
  std::vector<std::byte> bytes;
  for (const RankRun& run : mine) {
    append_bytes(bytes, run.measure);
    append_bytes(bytes, run.forward_s.size());
    append_bytes<double>(bytes, run.forward_s);
    append_bytes<double>(bytes, run.forward_backward_s);
  }
  IterationTimes slowest;
  for (const auto& from : fleet.processes().all_gather(bytes, "measures of each rank")) {
    for (std::span<const std::byte> rest = from; !rest.empty();) {
      ranks.push_back(take_bytes<RankMeasure>(rest, 1)[0]);
      const auto iterations = take_bytes<std::size_t>(rest, 1)[0];
      for (std::vector<double>* const times : {&slowest.forward, &slowest.forward_backward}) {
        times->resize(iterations);
        const auto of_rank = take_bytes<double>(rest, iterations);
        std::ranges::transform(*times, of_rank, times->begin(),
                               [](double a, double b) { return std::max(a, b); });
      }
    }
  }
  return slowest;
}

}  // namespace ringside
