#include "distributed/comm/deadline.h"

#include <fmt/format.h>

namespace ringside {

std::string message_in_words(bool sends, std::size_t bytes, int peer) {
  return fmt::format("{} of {} bytes {} rank {}", sends ? "send" : "receive", bytes, sends ? "to" : "from",
                     peer);
}

InfrastructureError deadline_error(int rank, int size, Clock::duration waited, std::string_view label,
                                   const std::vector<std::string>& missing) {
  std::string text = fmt::format("rank {} of {}: waited {:.1f} s in '{}'", rank, size,
                                 std::chrono::duration<double>(waited).count(), label);
  std::string_view separator = ": ";
  for (const std::string& one : missing) {
    text.append(separator).append(one);
    separator = "; ";
  }
  return InfrastructureError(text);
}

}  // namespace ringside
