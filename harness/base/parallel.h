// Independent pieces of work on the cores of one process.
#pragma once

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "reference/view.h"

namespace ringside {

/// Calls work(i) once for each i in [0, count) on up to `threads` threads, the caller's among them. Which
/// thread takes which i is open, so pieces must not depend on each other. Rethrows the first exception.
template <typename Work>
void parallel_for(Index count, int threads, const Work& work) {
  std::atomic<Index> next = 0;
  std::exception_ptr error;
  std::mutex mutex;
  const auto take = [&] {
    for (Index i = next++; i < count; i = next++) {
      try {
        work(i);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!error) error = std::current_exception();
        next = count;
      }
    }
  };
  std::vector<std::jthread> helpers;
  for (Index t = 1; t < std::min<Index>(threads, count); ++t) helpers.emplace_back(take);
  take();
  helpers.clear();
  if (error) std::rethrow_exception(error);
}

}  // namespace ringside
