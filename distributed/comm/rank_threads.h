// The threads of a run's ranks, from start to end.
#pragma once

#include <exception>
#include <functional>

#include "distributed/comm/deadline.h"

namespace ringside {

/// Runs body(rank) on `size` threads and returns when all have ended. What a body throws, or the start of its
/// thread, is given to fail(rank, exception), which must see to it that the others come back: one that does
/// not within `patience` cannot be ended alone, and a Watchdog ends the process, naming it and the first
/// failure.
void run_rank_threads(int size, Clock::duration patience, const std::function<void(int rank)>& body,
                      const std::function<void(int rank, std::exception_ptr)>& fail);

}  // namespace ringside
