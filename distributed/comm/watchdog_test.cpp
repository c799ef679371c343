#include "distributed/comm/watchdog.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <vector>

#include "distributed/comm/thread_communicator.h"

namespace ringside {
namespace {

using ::testing::ExitedWithCode;
using ::testing::KilledBySignal;
using namespace std::chrono_literals;

class WatchdogDeathTest : public ::testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(WatchdogDeathTest, EndsAWaitThatDoesNotEnd) {
  EXPECT_EXIT(
      {
        const Watchdog watchdog;
        const Awaiting awaiting("split (MPI_Comm_split)", 100ms);
        sleep(60);
      },
      ExitedWithCode(5),
      "^ringside: waited 2\\.[1-9] s in 'split \\(MPI_Comm_split\\)'; the call does not return\n$");
}

TEST_F(WatchdogDeathTest, LeavesWaitsThatEnd) {
  EXPECT_EXIT(
      {
        const Watchdog watchdog;
        { const Awaiting awaiting("start", 0ms); }
        const Awaiting awaiting("more", 60s);
        sleep(4);
        _exit(7);
      },
      ExitedWithCode(7), "^$");
}

TEST_F(WatchdogDeathTest, TellsAtSigterm) {
  EXPECT_EXIT(
      {
        Watchdog watchdog;
        watchdog.tell_of(1, 4);
        Awaiting awaiting("ring forward, step 1", 60s);
        for (const char* from : {"2", "3"})
          awaiting.missing(std::vector<std::string>{"one sent", std::string("one from ") + from});
        std::raise(SIGTERM);
      },
      KilledBySignal(SIGTERM),
      "^ringside: rank 1 of 4: ended by SIGTERM, waiting in 'ring forward, step 1': one sent; one from 3\n$");
  EXPECT_EXIT(
      {
        Watchdog watchdog;
        watchdog.tell_of(1, 4);
        { const Awaiting awaiting("ring forward, step 1", 60s); }
        std::raise(SIGTERM);
      },
      KilledBySignal(SIGTERM), "^ringside: rank 1 of 4: ended by SIGTERM, waiting for no other rank\n$");
  EXPECT_EXIT(
      {
        Watchdog watchdog;
        watchdog.tell_of(1, 4);
        Watchdog::tell_no_more();
        std::raise(SIGTERM);
      },
      KilledBySignal(SIGTERM), "^$");
}

TEST_F(WatchdogDeathTest, CutsALongText) {
  EXPECT_EXIT(
      {
        const Watchdog watchdog;
        Awaiting awaiting("many", 0ms);
        awaiting.missing(std::vector<std::string>(1000, "receive of 64 bytes"));
        sleep(60);
      },
      ExitedWithCode(5), "^ringside: waited 2\\.[0-9] s in 'many': receive of 64 bytes; receive");
}

TEST_F(WatchdogDeathTest, EndsARunWhoseRankDoesNotComeBack) {
  EXPECT_EXIT(
      {
        const Watchdog watchdog;
        run_ranks(3, {.timeout = 100ms}, [](Communicator& comm) {
          if (comm.rank() == 1) sleep(60);
          comm.barrier();
        });
      },
      ExitedWithCode(5),
      "in 'end of the ranks': rank [02] of 3: .*; rank 1 has not come back; the call does not return\n");
}

}  // namespace
}  // namespace ringside
