#include "distributed/comm/thread_communicator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <latch>
#include <stdexcept>
#include <thread>

#include "distributed/comm/communicator_suite.h"
#include "distributed/comm/test_device.h"
#include "reference/error.h"

namespace ringside {
namespace {

using test::filled;
using test::TestDevice;
using test::values;
using testing::AllOf;
using testing::Each;
using testing::HasSubstr;
using testing::IsNan;
using namespace std::chrono_literals;
using test::left_of;
using test::right_of;

/// A rank that hangs holds a test longer than the test program may last.
constexpr ThreadGroupOptions kPatient{.timeout = 1h};
constexpr ThreadGroupOptions kHurried{.timeout = 50ms};
constexpr ThreadGroupOptions kLate{.timeout = 1h, .poison = true, .delay_seed = 7};

/// What run_ranks() throws.
std::string failure(int size, const ThreadGroupOptions& options,
                    const std::function<void(Communicator&)>& body) {
  try {
    run_ranks(size, options, body);
  } catch (const std::exception& error) {
    return error.what();
  }
  return "no failure";
}

struct Mode {
  const char* name;
  ThreadGroupOptions options;
  friend std::ostream& operator<<(std::ostream& out, const Mode& mode) { return out << mode.name; }
};

class ThreadSuite : public testing::TestWithParam<std::tuple<test::SuiteCase, Mode, int>> {};

TEST_P(ThreadSuite, Holds) {
  const auto& [suite_case, mode, size] = GetParam();
  std::atomic<int> ranks = 0;
  run_ranks(size, mode.options, [&, run = suite_case.run](Communicator& comm) {
    TestDevice device;
    ++ranks;
    run(comm, device);
  });
  EXPECT_EQ(ranks, size);
}

std::string name_of(const testing::TestParamInfo<ThreadSuite::ParamType>& info) {
  const auto& [suite_case, mode, size] = info.param;
  return std::string(suite_case.name) + "_" + mode.name + "_" + std::to_string(size);
}

INSTANTIATE_TEST_SUITE_P(Threads, ThreadSuite,
                         testing::Combine(testing::ValuesIn(test::communicator_suite().begin(),
                                                            test::communicator_suite().end()),
                                          testing::Values(Mode{"plain", kPatient}, Mode{"late", kLate}),
                                          testing::Values(1, 2, 3, 4, 8)),
                         name_of);

TEST(ThreadCommunicator, DeadlineNamesWhatIsMissing) {
  for (const int size : {2, 4}) {
    run_ranks(size, kHurried, [](Communicator& comm) {
      TestDevice device;
      test::expect_deadline(comm, device);
    });
  }
}

TEST(ThreadCommunicator, ASendThatNobodyTakesIsMissingToo) {
  const std::string text = failure(4, kHurried, [](Communicator& comm) {
    TestDevice device;
    if (comm.rank() != 2) return;
    const Tensor x = filled(device, 16, 0);
    comm.exchange({{3, x}}, {{1, x}}, "ring").wait();
  });
  EXPECT_THAT(text, AllOf(HasSubstr("rank 2 of 4: waited "), HasSubstr("send of 64 bytes to rank 3"),
                          HasSubstr("receive of 64 bytes from rank 1")));
}

TEST(ThreadCommunicator, BarrierDeadlineNamesTheAbsent) {
  const std::string text = failure(4, kHurried, [](Communicator& comm) {
    if (comm.rank() == 2) comm.barrier();
  });
  EXPECT_THAT(text, AllOf(HasSubstr("rank 2 of 4: waited "),
                          HasSubstr(" s in 'barrier': rank 0 has not arrived; rank 1 has not arrived; "
                                    "rank 3 has not arrived")));
}

TEST(ThreadCommunicator, WhatTimedOutIsWithdrawn) {
  run_ranks(2, {.timeout = 1s}, [](Communicator& comm) {
    TestDevice device;
    const Tensor x = filled(device, 2, -1);
    if (comm.rank() == 0) {
      EXPECT_THROW(comm.exchange({}, {{1, x}}, "never").wait(), InfrastructureError);
    }
    // The barrier's deadline is as short as the receive's was.
    for (bool together = false; !together;) {
      try {
        comm.barrier();
        together = true;
      } catch (const InfrastructureError&) {
      }
    }
    if (comm.rank() == 0) comm.exchange({}, {{1, x}}, "x").wait();
    if (comm.rank() == 1) comm.exchange({{0, filled(device, 2, 5)}}, {}, "x").wait();
    EXPECT_THAT(values(x), Each(comm.rank() == 0 ? 5 : -1));
  });
}

// The receiver had posted, so that the two ends knew each other when the sender gave up.
TEST(ThreadCommunicator, AWithdrawnSendIsNotTaken) {
  std::latch posted(2), withdrawn(2);
  run_ranks(2, kHurried, [&](Communicator& comm) {
    TestDevice device;
    const Tensor x = filled(device, 2, static_cast<float>(comm.rank()));
    if (comm.rank() == 0) {
      posted.arrive_and_wait();
      EXPECT_THROW(comm.exchange({{1, x}}, {}, "x").wait(), InfrastructureError);
      withdrawn.arrive_and_wait();
    } else {
      Request request = comm.exchange({}, {{0, x}}, "x");
      posted.arrive_and_wait();
      withdrawn.arrive_and_wait();
      EXPECT_THROW(request.wait(), InfrastructureError);
      EXPECT_THAT(values(x), Each(1));
    }
  });
}

TEST(ThreadCommunicator, TheFirstExceptionIsTheOneRethrown) {
  for (const int size : {1, 2, 4, 8}) {
    std::atomic<int> stopped = 0;
    const std::string text = failure(size, kPatient, [&](Communicator& comm) {
      TestDevice device;
      if (comm.rank() == size / 2) throw std::runtime_error("the root cause");
      const Tensor x = filled(device, 1, 0);
      try {
        if (comm.rank() == 0) comm.exchange({}, {{size / 2, x}}, "a message that never comes").wait();
        comm.barrier();
      } catch (const InfrastructureError& error) {
        EXPECT_THAT(error.what(), HasSubstr("rank " + std::to_string(size / 2) + " of the run failed"));
        ++stopped;
        throw;
      }
    });
    EXPECT_EQ(text, "the root cause");
    EXPECT_EQ(stopped, size - 1);
  }
}

TEST(ThreadCommunicator, AnExceptionInASubgroupEndsTheOthers) {
  const std::string text = failure(4, kPatient, [](Communicator& comm) {
    const auto part = comm.split(comm.rank() / 2, 0);
    if (comm.rank() == 3) throw std::runtime_error("in the second group");
    part->barrier();
    comm.barrier();
  });
  EXPECT_EQ(text, "in the second group");
}

TEST(ThreadCommunicator, AFailingRankDoesNotWaitForItsOwnMessages) {
  const std::string text = failure(3, kPatient, [](Communicator& comm) {
    TestDevice device;
    const Tensor x = filled(device, 1, 0);
    const Tensor y = filled(device, 1, 0);
    Request request = comm.exchange({{right_of(comm), x}}, {{left_of(comm), y}}, "ring");
    if (comm.rank() == 1) throw std::runtime_error("between exchange and wait");
    request.wait();
    comm.barrier();
  });
  EXPECT_EQ(text, "between exchange and wait");
}

TEST(ThreadCommunicator, TensorsThatDoNotMatchFailOnBothRanks) {
  struct Pair {
    Shape sent, received;
    DType sent_type, received_type;
  };
  for (const Pair& pair : {Pair{{1, 2, 3, 4}, {1, 2, 3, 5}, DType::fp32, DType::fp32},
                           Pair{{1, 2, 3, 4}, {1, 2, 4, 3}, DType::fp32, DType::fp32},
                           Pair{{1, 2, 3, 4}, {1, 2, 3, 4}, DType::fp32, DType::bf16},
                           Pair{{1, 2, 0, 4}, {1, 2, 0, 5}, DType::bf16, DType::bf16}}) {
    std::atomic<int> failures = 0;
    run_ranks(2, kPatient, [&](Communicator& comm) {
      TestDevice device;
      Request request =
          comm.rank() == 0
              ? comm.exchange({{1, device.allocate(pair.sent, pair.sent_type)}}, {}, "k out")
              : comm.exchange({}, {{0, device.allocate(pair.received, pair.received_type)}}, "k in");
      try {
        request.wait();
      } catch (const InfrastructureError& error) {
        EXPECT_THAT(error.what(), AllOf(HasSubstr("rank 0 in 'k out' sends [1, 2, "),
                                        HasSubstr("rank 1 in 'k in' receives [1, 2, "),
                                        HasSubstr(std::string(to_string(pair.received_type)))));
        ++failures;
      }
    });
    EXPECT_EQ(failures, 2);
  }
}

TEST(ThreadCommunicator, ACopyThatThrowsEndsBothRanks) {
  class BrokenDevice final : public TestDevice {
    void copy(const Tensor&, const Tensor&) override { throw std::runtime_error("no copies today"); }
  };
  const std::string text = failure(2, kPatient, [](Communicator& comm) {
    BrokenDevice device;
    const Tensor x = filled(device, 1, 0);
    if (comm.rank() == 0) comm.exchange({{1, x}}, {}, "x").wait();
    if (comm.rank() == 1) comm.exchange({}, {{0, x}}, "x").wait();
  });
  EXPECT_EQ(text, "no copies today");
}

TEST(ThreadCommunicator, RefusesAnEmptyRun) {
  EXPECT_THROW(run_ranks(0, {}, [](Communicator&) {}), std::invalid_argument);
}

TEST(ThreadCommunicator, WhatIsReadBeforeWaitIsPoison) {
  for (const ThreadGroupOptions& options : {ThreadGroupOptions{.timeout = 1h, .poison = true}, kLate}) {
    run_ranks(4, options, [](Communicator& comm) {
      TestDevice device;
      const Tensor mine = filled(device, 3, 4);
      const Tensor next = filled(device, 3, -1);
      for (int round = 0; round < 5; ++round) {
        Request request = comm.exchange({{right_of(comm), mine}}, {{left_of(comm), next}}, "ring");
        EXPECT_THAT(values(next), Each(IsNan()));
        request.wait();
        EXPECT_THAT(values(next), Each(4));
      }
      const Tensor sent = device.allocate({1, 1, 1, 1}, DType::bf16);
      const Tensor received = device.allocate({1, 1, 1, 1}, DType::bf16);
      Request request = comm.exchange({{right_of(comm), sent}}, {{left_of(comm), received}}, "bf16");
      EXPECT_TRUE(std::isnan(to_float(*received.view<BFloat16>().data)));
    });
  }
}

// As in a ring's backward, where kv and the gradients travel at once and only the gradients are waited for.
TEST(ThreadCommunicator, LateDeliveryHoldsWhatIsNotWaitedFor) {
  run_ranks(3, kLate, [](Communicator& comm) {
    TestDevice device;
    const Tensor mine = filled(device, 3, 4);
    const Tensor kv = filled(device, 3, -1), gradients = filled(device, 3, -1);
    for (int round = 0; round < 5; ++round) {
      Request first = comm.exchange({{right_of(comm), mine}}, {{left_of(comm), kv}}, "kv");
      comm.exchange({{right_of(comm), mine}}, {{left_of(comm), gradients}}, "gradients").wait();
      EXPECT_THAT(values(gradients), Each(4));
      EXPECT_THAT(values(kv), Each(IsNan()));
      first.wait();
      EXPECT_THAT(values(kv), Each(4));
    }
  });
}

TEST(ThreadCommunicator, LateDeliverySendsWhatWasWrittenTooEarly) {
  run_ranks(2, kLate, [](Communicator& comm) {
    TestDevice device;
    const Tensor x = filled(device, 3, -1);
    for (int round = 0; round < 10; ++round) {
      if (comm.rank() == 0) {
        device.fill(x, 1);
        Request request = comm.exchange({{1, x}}, {}, "x");
        device.fill(x, 2);
        request.wait();
      } else {
        comm.exchange({}, {{0, x}}, "x").wait();
        EXPECT_THAT(values(x), Each(2));
      }
    }
  });
}

}  // namespace
}  // namespace ringside
