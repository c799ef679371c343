// Words for a deadline that passed: operation, peers, bytes.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "reference/error.h"

namespace ringside {

using Clock = std::chrono::steady_clock;

/// "send of 64 bytes to rank 3", "receive of 64 bytes from rank 1".
std::string message_in_words(bool sends, std::size_t bytes, int peer);

/// "rank 2 of 4: waited 60.0 s in 'ring forward, step 2: k, v': <missing>; <missing>".
InfrastructureError deadline_error(int rank, int size, Clock::duration waited, std::string_view label,
                                   const std::vector<std::string>& missing);

}  // namespace ringside
