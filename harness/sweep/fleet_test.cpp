// Tests fleets, and plans made for them.
#include "harness/run/fleet.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "harness/base/fingerprint.h"
#include "harness/base/stopwatch.h"
#include "harness/run/peak.h"
#include "harness/sweep/plan.h"
#include "harness/sweep/session.h"

namespace ringside {
namespace {

using testing::HasSubstr;

TEST(Nccl, SaysWhatIsMissing) {
  SessionOptions options;
  EXPECT_THAT(why_no_nccl(options, false, true).value_or(""), HasSubstr("without NCCL"));
  EXPECT_THAT(why_no_nccl(options, true, true).value_or(""), HasSubstr("needs --device cuda, not cpu"));
  options.device = "cuda";
  EXPECT_THAT(why_no_nccl(options, true, false).value_or(""), HasSubstr("needs mpirun"));
  EXPECT_EQ(why_no_nccl(options, true, true), std::nullopt);
  EXPECT_NE(why_no_nccl(options, false, true), std::nullopt);
}

TEST(Nccl, RefusesTwoRanksOnAGpu) {
  EXPECT_EQ(nccl_refusal(1, 1), std::nullopt);
  EXPECT_EQ(nccl_refusal(4, 8), std::nullopt);
  EXPECT_THAT(nccl_refusal(2, 1).value_or(""),
              HasSubstr("2 ranks on a node of 1 GPUs, and NCCL refuses two ranks on one"));
  EXPECT_NE(nccl_refusal(9, 8), std::nullopt);
}

TEST(Fleet, RanksThatShareACoreOrADeviceAreTooMany) {
  const Fleet fleet = Fleet::of_threads(std::nullopt, std::chrono::seconds(60));
  const int cores = usable_cores();
  DeviceEntry device = device_entry("cpu");
  EXPECT_EQ(device.count, 0);  // no limit but the cores
  EXPECT_FALSE(fleet.oversubscribed(cores, device));
  EXPECT_TRUE(fleet.oversubscribed(cores + 1, device));
  device.count = 1;
  EXPECT_FALSE(fleet.oversubscribed(1, device));
  EXPECT_TRUE(fleet.oversubscribed(2, device));
  device.count = 1000;
  EXPECT_FALSE(fleet.oversubscribed(1, device));
  EXPECT_TRUE(fleet.oversubscribed(cores + 1, device));
}

TEST(Fleet, EachThreadIsARankOfTheNode) {
  const Fleet fleet = Fleet::of_threads(4, std::chrono::seconds(60));
  EXPECT_EQ(fleet.rank_on_node(3), 3);
  EXPECT_EQ(fleet.communicator(), "threads");
}

TEST(Plan, SkipsWhatTheDeviceCannot) {
  DeviceEntry device = device_entry("cpu");
  device.unsupported = [](const Problem& problem, DType, Math math) -> std::optional<std::string> {
    if (problem.head_dim <= 64 && math == Math::fp32) return std::nullopt;
    return "too much for it";
  };
  const Case fits = {.variant = "ring", .seq = 16, .head_dim = 64};
  Case wide = fits, exact = fits;
  wide.head_dim = 65;
  exact.math = Math::tf32;
  const auto once = [](const Case&) { return 1; };
  const Plan plan = make_plan({fits, wide, exact}, std::nullopt, once, 2, device);
  EXPECT_EQ(plan.to_run, 1);
  for (const PlannedCase& planned : plan.cases) {
    const bool runs = planned.c.head_dim == 64 && planned.c.math == Math::fp32;
    EXPECT_EQ(planned.skip, runs ? std::nullopt : std::optional<std::string>("too much for it"));
  }
  EXPECT_EQ(make_plan({fits, wide, exact}, std::nullopt, once, 2).to_run, 3);
}

TEST(Fleet, TakesAsManyRanksAtOnceAsThereAreCoresOrDevices) {
  const auto at_once = [](std::optional<int> world, int devices) {
    DeviceEntry device = device_entry("cpu");
    device.count = devices;
    return Fleet::of_threads(world, std::chrono::seconds(60)).ranks_at_once(device);
  };
  EXPECT_EQ(at_once(std::nullopt, 0), usable_cores());
  EXPECT_EQ(at_once(64 * usable_cores(), 0), usable_cores());
  EXPECT_EQ(at_once(1, 0), 1);
  EXPECT_EQ(at_once(std::nullopt, 1), 1);
}

TEST(Peak, IsTheWorkOverItsTime) {
  Fleet fleet = Fleet::of_threads(1, std::chrono::seconds(60));
  Stopwatch watch;
  const double tflops = matmul_peak(DType::fp32, Math::fp32, device_entry("cpu"), fleet);
  const double five_s = watch.lap();  // at least: the median of five is not above a third of them
  EXPECT_GT(tflops, 0);
  EXPECT_GE(tflops * 1e12 * five_s, 3 * 2.0 * 512 * 512 * 512);
}

TEST(Devices, AreNotAskedForUnlessNamed) {
  const NamedDevice all[] = {{"cpu", [] { return device_entry("cpu"); }},
                             {"driver", []() -> DeviceEntry { throw std::logic_error("was asked"); }}};
  EXPECT_EQ(device_entry("cpu", all).name, "cpu");
  EXPECT_THROW(device_entry("driver", all), std::logic_error);
}

TEST(Devices, AreFoundByName) {
  EXPECT_EQ(usable_device("cpu").name, "cpu");
  EXPECT_THROW(device_entry("abacus"), UsageError);
  for (const DeviceEntry& device : devices()) {
    EXPECT_EQ(device_entry(device.name).name, device.name);
    if (!device.unavailable) continue;
    EXPECT_THROW(usable_device(device.name), UsageError) << device.name;
  }
}

}  // namespace
}  // namespace ringside
