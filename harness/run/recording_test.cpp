// Tests recording wrappers against the devices they wrap. The same groups, counters and errors.
#include "harness/run/recording.h"

#include <gmock/gmock.h>

#include "distributed/comm/test_deferred.h"
#include "distributed/comm/test_device.h"
#include "distributed/comm/thread_communicator.h"

namespace ringside {
namespace {

TEST(RecordingCommunicator, CountsWhatTheRealOneWouldInGroupsOfItsOwnToo) {
  run_ranks(4, {}, [](Communicator& world) {
    const auto device = make_cpu_device();
    Recorder recorder;
    const auto real = world.split(0, world.rank());
    RecordingCommunicator comm(world.split(0, world.rank()), recorder);
    const auto pair = comm.split(comm.rank() / 2, comm.rank());
    const auto real_pair = real->split(real->rank() / 2, real->rank());
    EXPECT_EQ(pair->rank(), real_pair->rank());
    EXPECT_EQ(pair->size(), real_pair->size());
    const auto speak = [&](Communicator& group, Communicator& half) {
      const auto word = [&] { return device->allocate({1, 1, 1, 2}, DType::fp32); };
      const int right = (group.rank() + 1) % group.size(),
                left = (group.rank() + group.size() - 1) % group.size();
      group.exchange({{right, word()}}, {{left, word()}}, "ring").wait();
      group.exchange({}, {}, "nothing").wait();
      half.all_to_all({word(), word()}, {word(), word()}, "swap").wait();
      EXPECT_THROW(static_cast<void>(group.exchange({{group.rank(), word()}}, {}, "self")),
                   std::invalid_argument);
    };
    speak(comm, *pair);
    speak(*real, *real_pair);
    EXPECT_EQ(comm.traffic(), real->traffic());
    EXPECT_EQ(comm.traffic(), (Traffic{.bytes = 8, .messages = 1}));
    EXPECT_EQ(pair->traffic(), real_pair->traffic());
    EXPECT_EQ(pair->traffic(), (Traffic{.bytes = 8, .collectives = 1}));

    const Timeline& timeline = recorder.timeline();
    std::vector<std::string> recorded;
    for (const Step& step : timeline.steps) {
      recorded.emplace_back(timeline.name(step));
      EXPECT_EQ(step.bytes, step.kind == Step::Kind::message ? 8 : 0);
    }
    EXPECT_THAT(recorded, testing::ElementsAre("ring", "ring", "swap", "swap"));  // wait and message
  });
}

TEST(RecordingDevice, NotesWhatComputesAndGivesItsResult) {
  const auto device = make_cpu_device();
  run_ranks(1, {}, [&](Communicator& world) {
    Recorder recorder;
    RecordingDevice recording(*device, world, recorder);
    const Tensor x = recording.allocate({1, 1, 2, 3}, DType::fp32);
    const Tensor y = recording.allocate({1, 1, 2, 3}, DType::fp32);
    recording.fill(x, 2);
    recording.copy(x, y);
    recording.add(x, y);
    recording.synchronize();
    std::vector<float> host(6);
    recording.download(y, std::as_writable_bytes(std::span(host)));
    EXPECT_THAT(host, testing::Each(4));
    EXPECT_EQ(recording.memory().live, 48u);
    const Tensor z = recording.allocate({1, 1, 1, 3}, DType::fp32);
    EXPECT_THROW(recording.add(x, z), std::invalid_argument);
    std::vector<std::string> recorded;
    for (const Step& step : recorder.timeline().steps) {
      recorded.emplace_back(recorder.timeline().name(step));
      EXPECT_EQ(step.kind, Step::Kind::compute);
    }
    EXPECT_THAT(recorded, testing::ElementsAre("fill", "copy", "add"));
  });
}

// The host may read at once what the recorded step has written.
TEST(Recorder, AStepIsOverWhenALaterDeviceHasDoneIt) {
  test::TestDevice memory;
  test::DeferredDevice device(memory, 0);
  run_ranks(1, {}, [&](Communicator& world) {
    Recorder recorder(&device);
    RecordingDevice recording(device, world, recorder);
    const Tensor x = recording.allocate({1, 1, 1, 1}, DType::fp32);
    recording.fill(x, 1);
    EXPECT_EQ(*x.view<float>().data, 1);
    std::promise<void> gate;
    device.hold(gate.get_future().share());
    const std::jthread opens([&gate] {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      gate.set_value();
    });
    recording.fill(x, 2);
    EXPECT_EQ(*x.view<float>().data, 2);
    EXPECT_EQ(recorder.timeline().steps.size(), 2u);
  });
}

}  // namespace
}  // namespace ringside
