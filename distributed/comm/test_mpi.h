// Main program of tests under mpirun, each on all ranks.
#pragma once

#include <gtest/gtest.h>

#include <cstdio>

#include "distributed/comm/mpi_communicator.h"
#include "distributed/comm/process_group.h"

namespace ringside::test {

/// Prints failures only, with the rank.
class Quiet final : public testing::EmptyTestEventListener {
 public:
  explicit Quiet(int rank) : rank_(rank) {}

  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::fprintf(stderr, "rank %d: %s:%d: %s\n", rank_, result.file_name() ? result.file_name() : "?",
                 result.line_number(), result.summary());
  }

 private:
  int rank_;
};

/// Runs all tests; rank 0 tells of them. Returns the status of the worst rank.
inline int run_on_all_ranks(int argc, char** argv) {
  const MpiSession session;
  testing::InitGoogleTest(&argc, argv);
  auto group = ProcessGroup::mpi(std::chrono::minutes(2));
  if (group.rank() != 0) {
    auto& listeners = testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new Quiet(group.rank()));  // owned by GoogleTest
  }
  const auto status = static_cast<std::byte>(RUN_ALL_TESTS());
  std::byte worst{0};
  for (const auto& of_rank : group.all_gather({&status, 1}, "exit status")) worst |= of_rank.front();
  return static_cast<int>(worst);
}

}  // namespace ringside::test
