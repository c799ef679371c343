// The communicators' suite on each device that can be used here: ranks as threads that share it.
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <tuple>
#include <vector>

#include "distributed/comm/communicator_suite.h"
#include "distributed/comm/thread_communicator.h"
#include "kernels/device.h"

namespace ringside {
namespace {

using namespace std::chrono_literals;

std::vector<DeviceEntry> usable_devices() {
  std::vector<DeviceEntry> all = devices();
  std::erase_if(all, [](const DeviceEntry& entry) { return entry.unavailable.has_value(); });
  return all;
}

class DeviceSuite : public testing::TestWithParam<std::tuple<DeviceEntry, test::SuiteCase, bool, int>> {};

TEST_P(DeviceSuite, Holds) {
  const auto& [entry, suite_case, late, size] = GetParam();
  ThreadGroupOptions options{.timeout = 10min};
  if (late) options = {.timeout = 10min, .poison = true, .delay_seed = 7};
  std::atomic<int> ranks = 0;
  run_ranks(size, options, [&, run = suite_case.run, make = entry.make](Communicator& comm) {
    const auto device = make({.poison = true, .local_rank = comm.rank()});
    ++ranks;
    run(comm, *device);
  });
  EXPECT_EQ(ranks, size);
}

std::string name_of(const testing::TestParamInfo<DeviceSuite::ParamType>& info) {
  const auto& [entry, suite_case, late, size] = info.param;
  return std::string(entry.name) + "_" + suite_case.name + (late ? "_late_" : "_") + std::to_string(size);
}

INSTANTIATE_TEST_SUITE_P(Devices, DeviceSuite,
                         testing::Combine(testing::ValuesIn(usable_devices()),
                                          testing::ValuesIn(test::communicator_suite().begin(),
                                                            test::communicator_suite().end()),
                                          testing::Bool(), testing::Values(1, 2, 4, 8)),
                         name_of);

}  // namespace
}  // namespace ringside
