#include "distributed/comm/communicator.h"

#include <gtest/gtest.h>
#include <stdlib.h>  // setenv

#include "distributed/comm/mpi_communicator.h"
#include "reference/error.h"

namespace ringside {
namespace {

class CountingState final : public Pending::State {
 public:
  CountingState(int& waits, bool fails) : waits_(waits), fails_(fails) {}
  void wait() override {
    ++waits_;
    if (fails_) throw InfrastructureError("too late");
  }

 private:
  int& waits_;
  bool fails_;
};

Pending pending(int& waits, bool fails = false) {
  return Pending(std::make_unique<CountingState>(waits, fails));
}

TEST(Pending, IsWaitedForOnce) {
  int waits = 0;
  {
    Pending p = pending(waits);
    p.wait();
    p.wait();
  }
  EXPECT_EQ(waits, 1);
}

TEST(Pending, IsWaitedForWhenDroppedOrReplaced) {
  int first = 0, second = 0;
  {
    Pending p = pending(first);
    p = pending(second);
    EXPECT_EQ(first, 1);
    EXPECT_EQ(second, 0);
    Pending moved = std::move(p);
    EXPECT_EQ(second, 0);
  }
  EXPECT_EQ(first, 1);
  EXPECT_EQ(second, 1);
}

TEST(Pending, SwallowsTheErrorOnlyWhenDropped) {
  int waits = 0;
  { Pending dropped = pending(waits, true); }
  EXPECT_EQ(waits, 1);
  Pending p = pending(waits, true);
  EXPECT_THROW(p.wait(), InfrastructureError);
  p.wait();
  EXPECT_EQ(waits, 2);
}

TEST(MpiSession, IsToldFromTheEnvironment) {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMI_RANK", "PMIX_RANK", "MPI_LOCALNRANKS",
                           "MV2_COMM_WORLD_SIZE"}) {
    unsetenv(name);
  }
  EXPECT_FALSE(MpiSession::launched_by_mpi());
  setenv("PMIX_RANK", "0", 1);
  EXPECT_TRUE(MpiSession::launched_by_mpi());
}

TEST(MpiSession, NamesItsLibraryInOneLine) {
  EXPECT_EQ(MpiSession::library_version().value_or("none").find_first_of(std::string_view("\n\0", 2)),
            std::string::npos);
}

}  // namespace
}  // namespace ringside
