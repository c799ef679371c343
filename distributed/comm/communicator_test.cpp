#include "distributed/comm/communicator.h"

#include <gtest/gtest.h>
#include <stdlib.h>  // setenv

#include "distributed/comm/mpi_communicator.h"
#include "reference/error.h"

namespace ringside {
namespace {

class CountingState final : public Request::State {
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

Request request(int& waits, bool fails = false) {
  return Request(std::make_unique<CountingState>(waits, fails));
}

TEST(Request, IsWaitedForOnce) {
  int waits = 0;
  {
    Request p = request(waits);
    p.wait();
    p.wait();
  }
  EXPECT_EQ(waits, 1);
}

TEST(Request, IsWaitedForWhenDroppedOrReplaced) {
  int first = 0, second = 0;
  {
    Request p = request(first);
    p = request(second);
    EXPECT_EQ(first, 1);
    EXPECT_EQ(second, 0);
    Request moved = std::move(p);
    EXPECT_EQ(second, 0);
  }
  EXPECT_EQ(first, 1);
  EXPECT_EQ(second, 1);
}

TEST(Request, SwallowsTheErrorOnlyWhenDropped) {
  int waits = 0;
  { Request dropped = request(waits, true); }
  EXPECT_EQ(waits, 1);
  Request p = request(waits, true);
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
