// Tests that every communicator must pass.
#pragma once

#include <ostream>
#include <span>

#include "distributed/comm/communicator.h"

namespace ringside::test {

/// Next and previous rank around the ring.
inline int right_of(const Communicator& comm) { return (comm.rank() + 1) % comm.size(); }
inline int left_of(const Communicator& comm) { return (comm.rank() + comm.size() - 1) % comm.size(); }

/// One check: run by every rank of a group, in the same order.
struct SuiteCase {
  const char* name;
  void (*run)(Communicator& comm, Device& device);

  friend std::ostream& operator<<(std::ostream& out, const SuiteCase& c) { return out << c.name; }
};

std::span<const SuiteCase> communicator_suite();

/// For a group of at least 2 with a short deadline: rank 0 waits for a message that the last rank never
/// sends. The group is of no use afterwards.
void expect_deadline(Communicator& comm, Device& device);

/// A rank as a value to send.
inline float number(int rank) { return static_cast<float>(rank); }

/// What each rank gave, by rank.
std::vector<std::int64_t> gather(Communicator& comm, Device& device, std::int64_t mine);

}  // namespace ringside::test
