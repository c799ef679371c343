// Tests NCCL's communicator on GPUs, one a process. With NCCL_HOSTID set to another value in each process
// NCCL lets them share one.
#include "distributed/comm/nccl_communicator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "distributed/comm/communicator_suite.h"
#include "distributed/comm/test_mpi.h"
#include "kernels/device.h"
#include "reference/error.h"

namespace ringside {
namespace {

using namespace std::chrono_literals;

/// This process's GPU, and what skips a test if it has none.
class OnGpu : public testing::TestWithParam<test::SuiteCase> {
 protected:
  void SetUp() override {
    const auto all = devices();
    const auto cuda = std::ranges::find(all, "cuda", &DeviceEntry::name);
    ASSERT_NE(cuda, all.end());
    if (cuda->unavailable) GTEST_SKIP() << *cuda->unavailable;
    if (processes_.processes_on_this_node() > cuda->count && std::getenv("NCCL_HOSTID") == nullptr) {
      GTEST_SKIP() << processes_.processes_on_this_node() << " processes, " << cuda->count << " GPUs";
    }
    device_ = cuda->make({.local_rank = processes_.rank_on_this_node()});
  }
  std::unique_ptr<Communicator> world(std::chrono::milliseconds timeout) {
    return nccl_world(timeout, processes_.rank_on_this_node());
  }

  ProcessGroup processes_ = ProcessGroup::mpi(60s);
  std::unique_ptr<Device> device_;
};

using NcclSuite = OnGpu;

TEST_P(NcclSuite, Holds) {
  const auto comm = world(60s);
  GetParam().run(*comm, *device_);
  comm->barrier();
}

INSTANTIATE_TEST_SUITE_P(Nccl, NcclSuite,
                         testing::ValuesIn(test::communicator_suite().begin(),
                                           test::communicator_suite().end()),
                         [](const auto& of) { return of.param.name; });

class NcclDeadline : public OnGpu {};

TEST_P(NcclDeadline, NamesWhatWasUnderWay) {
  const auto comm = world(5s);
  test::expect_deadline(*comm, *device_);
  processes_.barrier("the end of the deadline");
}

INSTANTIATE_TEST_SUITE_P(Nccl, NcclDeadline, testing::Values(test::communicator_suite().front()),
                         [](const auto&) { return "once"; });

}  // namespace
}  // namespace ringside

int main(int argc, char** argv) { return ringside::test::run_on_all_ranks(argc, argv); }
