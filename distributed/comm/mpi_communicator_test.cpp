#include "distributed/comm/mpi_communicator.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <iostream>
#include <numeric>
#include <stdexcept>

#include "distributed/comm/communicator_suite.h"
#include "distributed/comm/mpi_calls.h"
#include "distributed/comm/process_group.h"
#include "distributed/comm/test_deferred.h"
#include "distributed/comm/test_device.h"
#include "distributed/comm/test_mpi.h"
#include "reference/error.h"

namespace ringside {
namespace {

using test::filled;
using test::TestDevice;
using testing::HasSubstr;
using namespace std::chrono_literals;

constexpr auto kPatience = 60s;

/// On host memory, or on a device whose memory MPI must not touch and whose operations are done later.
class MpiSuite : public testing::TestWithParam<std::tuple<test::SuiteCase, bool>> {};

TEST_P(MpiSuite, Holds) {
  const auto& [suite_case, deferred] = GetParam();
  const auto comm = mpi_world(kPatience);
  TestDevice memory;
  test::DeferredDevice later(memory, comm->rank());
  suite_case.run(*comm, deferred ? static_cast<Device&>(later) : memory);
  comm->barrier();
}

INSTANTIATE_TEST_SUITE_P(Mpi, MpiSuite,
                         testing::Combine(testing::ValuesIn(test::communicator_suite().begin(),
                                                            test::communicator_suite().end()),
                                          testing::Bool()),
                         [](const auto& of) {
                           return std::string(std::get<0>(of.param).name) +
                                  (std::get<1>(of.param) ? "_staged" : "_in_place");
                         });

// What is sent is what the tensor holds once its device has done what it was asked for; what has arrived is
// there before what the device is asked for next.
TEST(MpiCommunicator, StagesInTheOrderOfTheDevice) {
  const auto comm = mpi_world(kPatience);
  TestDevice memory;
  test::DeferredDevice device(memory, comm->rank());
  const Tensor x = filled(device, 1000, -1), y = filled(device, 1000, -1);
  for (int round = 0; round < 50; ++round) {
    const auto value = static_cast<float>(100 * comm->rank() + round);
    device.fill(x, value);
    Request request = comm->exchange({{test::right_of(*comm), x}}, {{test::left_of(*comm), y}}, "ring");
    request.wait();
    device.fill(x, -2);
    device.copy(y, x);
    EXPECT_THAT(test::values(x), testing::Each(static_cast<float>(100 * test::left_of(*comm) + round)));
  }
  comm->barrier();
}

TEST(MpiCommunicator, KnowsItsLauncher) {
  EXPECT_TRUE(MpiSession::launched_by_mpi());
  char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0;
  MPI_Get_library_version(text, &length);
  const std::string version(text);  // which MPI all this is about
  if (ProcessGroup::mpi(kPatience).rank() == 0) std::cout << version.substr(0, version.find('\n')) << '\n';
}

TEST(MpiCommunicator, DeadlineNamesWhatIsMissing) {
  const auto all = mpi_world(kPatience);
  const auto hurried = mpi_world(1s);
  TestDevice device;
  test::expect_deadline(*hurried, device);
  if (all->rank() == 0) {
    EXPECT_THROW(hurried->barrier(), InfrastructureError);
  }
  all->barrier();
}

TEST(MpiCommunicator, DeadlineNamesWhoIsMissing) {
  const auto all = mpi_world(kPatience);
  for (const bool splits : {false, true}) {
    const auto hurried = mpi_world(1s);
    const int absent = all->size() - 1;
    if (all->rank() == 0) {
      try {
        if (splits) {
          static_cast<void>(hurried->split(0, 0));
        } else {
          hurried->barrier();
        }
        ADD_FAILURE() << "met a rank that did not come";
      } catch (const InfrastructureError& error) {
        EXPECT_THAT(error.what(), HasSubstr(splits ? "s in 'split': " : "s in 'barrier': "));
        EXPECT_THAT(error.what(), HasSubstr(fmt::format("rank {} has not arrived", absent)));
      }
    }
    all->barrier();
  }
}

TEST(MpiCommunicator, MessagesOfAnotherSizeAreRefused) {
  const auto comm = mpi_world(kPatience);
  TestDevice device;
  if (comm->rank() == 0) {
    for (int message = 0; message < 2; ++message)
      comm->exchange({{1, filled(device, 16, 0)}}, {}, "out").wait();
  } else if (comm->rank() == 1) {
    for (const auto& [count, text] : {std::pair{8, "receive of 32 bytes from rank 0, but more came"},
                                      std::pair{32, "receive of 128 bytes from rank 0, but 64 came"}}) {
      Request request = comm->exchange({}, {{0, filled(device, count, 0)}}, "in");
      try {
        request.wait();
        ADD_FAILURE() << "accepted: " << text;
      } catch (const InfrastructureError& error) {
        EXPECT_THAT(error.what(), AllOf(HasSubstr("'in'"), HasSubstr(text)));
      }
    }
  }
  comm->barrier();
}

// Beyond 64 MiB a message is a datatype of blocks.
TEST(MpiCommunicator, LargeMessagesArriveWhole) {
  const auto comm = mpi_world(kPatience);
  TestDevice device;
  if (comm->rank() < 2) {
    const int peer = 1 - comm->rank();
    const Shape shape{1, 1, (Index{1} << 25) + 3, 1};
    const Tensor sent = device.allocate(shape, DType::bf16);
    const Tensor received = device.allocate(shape, DType::bf16);
    const auto element = [](std::size_t i, int rank) {
      return static_cast<std::uint16_t>(i * 40503u + static_cast<std::size_t>(rank));
    };
    const auto out = sent.view<BFloat16>().all();
    for (std::size_t i = 0; i < out.size(); ++i) out[i].bits = element(i, comm->rank());
    comm->exchange({{peer, sent}}, {{peer, received}}, "large").wait();
    const auto in = received.view<BFloat16>().all();
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < in.size(); ++i) wrong += in[i].bits != element(i, peer);
    EXPECT_EQ(wrong, 0u);
    EXPECT_EQ(comm->traffic(), (Traffic{2 * shape.size(), 1, 0}));
  }
  comm->barrier();
}

}  // namespace
}  // namespace ringside

int main(int argc, char** argv) { return ringside::test::run_on_all_ranks(argc, argv); }
