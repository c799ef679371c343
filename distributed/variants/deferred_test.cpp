// Runs communicators and variants on a device that computes late. Nothing but events keeps what ranks compute
// and what they send each other in order.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <random>

#include "distributed/comm/communicator_suite.h"
#include "distributed/comm/test_deferred.h"
#include "distributed/comm/test_device.h"
#include "distributed/comm/thread_communicator.h"
#include "distributed/variant.h"
#include "reference/error.h"

namespace ringside {
namespace {

using test::DeferredDevice;
using test::filled;
using test::TestDevice;
using test::values;
using testing::Each;
using testing::HasSubstr;
using testing::IsNan;
using namespace std::chrono_literals;

constexpr ThreadGroupOptions kPlain{.timeout = 1h};
constexpr ThreadGroupOptions kLate{.timeout = 1h, .poison = true, .delay_seed = 7};

class DeferredSuite : public testing::TestWithParam<std::tuple<test::SuiteCase, bool, int>> {};

TEST_P(DeferredSuite, Holds) {
  const auto& [suite_case, late, size] = GetParam();
  run_ranks(size, late ? kLate : kPlain, [run = suite_case.run](Communicator& comm) {
    TestDevice memory;
    DeferredDevice device(memory, comm.rank());
    run(comm, device);
  });
}

INSTANTIATE_TEST_SUITE_P(Threads, DeferredSuite,
                         testing::Combine(testing::ValuesIn(test::communicator_suite().begin(),
                                                            test::communicator_suite().end()),
                                          testing::Bool(), testing::Values(2, 4)),
                         [](const auto& of) {
                           return std::string(std::get<0>(of.param).name) +
                                  (std::get<1>(of.param) ? "_late_" : "_plain_") +
                                  std::to_string(std::get<2>(of.param));
                         });

/// Copies between ranks as if everything were done when it is called.
class ImpatientDevice final : public DeferredDevice {
 public:
  using DeferredDevice::DeferredDevice;
  Event peer_copy(const Tensor& from, const Event&, const Tensor& to, const Event&) override {
    real_.copy(from, to);
    return nullptr;
  }
};

/// Rank 0 writes 2 and sends it, rank 1 writes -2, receives and reads; their devices do nothing of that
/// before both hosts have come to the end. What rank 1 has read.
template <typename D>
float read_behind_everything() {
  float read = 0;
  run_ranks(2, kPlain, [&](Communicator& comm) {
    TestDevice memory;
    D device(memory, comm.rank());
    const Tensor x = filled(device, 1, 1), seen = filled(device, 1, 0);
    device.synchronize();
    std::promise<void> gate;
    device.hold(gate.get_future().share());
    device.fill(x, comm.rank() == 0 ? 2 : -2);
    if (comm.rank() == 0) comm.exchange({{1, x}}, {}, "x").wait();
    if (comm.rank() == 1) comm.exchange({}, {{0, x}}, "x").wait();
    device.copy(x, seen);
    device.fill(x, 3);
    comm.barrier();
    gate.set_value();
    if (comm.rank() == 1) read = values(seen).front();
  });
  return read;
}

TEST(Deferred, HostsWaitForEachOtherAndNotForDevices) {
  EXPECT_EQ(read_behind_everything<DeferredDevice>(), 2);
}

TEST(Deferred, ACopyThatWaitsForNothingShows) { EXPECT_NE(read_behind_everything<ImpatientDevice>(), 2); }

TEST(Deferred, LateDeliveryShowsAMissingWait) {
  run_ranks(2, kLate, [](Communicator& comm) {
    TestDevice memory;
    DeferredDevice device(memory, comm.rank());
    const int other = 1 - comm.rank();
    const Tensor x = filled(device, 3, -1), y = filled(device, 3, -1), early = filled(device, 3, -1);
    for (int round = 0; round < 10; ++round) {
      device.fill(x, 1);
      Request request = comm.exchange({{other, x}}, {{other, y}}, "x");
      device.fill(x, 2);      // before it has left
      device.copy(y, early);  // before it has come
      request.wait();
      EXPECT_THAT(values(early), Each(IsNan()));
      EXPECT_THAT(values(y), Each(2));
    }
  });
}

TEST(Deferred, DevicesOfDifferentKindsDoNotMeet) {
  std::atomic<int> failures = 0;
  run_ranks(2, kPlain, [&](Communicator& comm) {
    TestDevice memory;
    DeferredDevice deferred(memory, comm.rank());
    Device& device = comm.rank() == 0 ? static_cast<Device&>(memory) : deferred;
    const int other = 1 - comm.rank();
    Request request = comm.exchange({{other, filled(device, 2, 0)}}, {{other, filled(device, 2, 0)}}, "x");
    try {
      request.wait();
    } catch (const InfrastructureError& error) {
      EXPECT_THAT(error.what(), testing::AllOf(HasSubstr("fp32 on test"), HasSubstr("fp32 on deferred")));
      ++failures;
    }
  });
  EXPECT_EQ(failures, 2);
}

// --- variants

using Bytes = std::vector<std::byte>;

/// Uniform in (-1, 1).
Tensor some(Device& device, Shape shape, Index tokens, std::uint32_t seed) {
  shape.tokens = tokens;
  std::minstd_rand random(seed);
  std::vector<float> host(static_cast<std::size_t>(shape.size()));
  for (float& x : host) x = std::uniform_real_distribution<float>(-1, 1)(random);
  const Tensor x = device.allocate(shape, DType::fp32), stored = device.allocate(shape, DType::bf16);
  device.upload(std::as_bytes(std::span(host)), x);
  device.copy(x, stored);
  return stored;
}

/// What a rank has of o, dq, dk, dv.
Bytes results(const Variant& variant, const Problem& problem, Communicator& comm, Device& device) {
  const Index tokens = count(positions(variant.layout, problem, comm.size(), comm.rank()));
  const auto seed = static_cast<std::uint32_t>(4 * comm.rank() + 1);
  Inputs in = {some(device, problem.q_shape(), tokens, seed),
               some(device, problem.k_shape(), tokens, seed + 1),
               some(device, problem.v_shape(), tokens, seed + 2)};
  const Tensor dout = some(device, problem.o_shape(), tokens, seed + 3);
  if (variant.cache) {
    for (const Shape& shape : variant.cache(problem)) in.cache.push_back(device.allocate(shape, DType::fp32));
  }
  const Context context = {comm, device, problem};
  const Forward forward = variant.forward(context, in);
  const Gradients grad = variant.backward(context, in, forward, dout);
  Bytes all;
  for (const Tensor& x : {forward.o, grad.dq, grad.dk, grad.dv}) {
    Bytes host(x.size_bytes());
    device.download(x, host);
    all.insert(all.end(), host.begin(), host.end());
  }
  return all;
}

class DeferredVariant : public testing::TestWithParam<const Variant*> {};

// One rank, two and four: the bits of a device that computes at once.
TEST_P(DeferredVariant, GivesTheSameBits) {
  const Variant& variant = *GetParam();
  Problem problem = {.op = variant.op,
                     .batch = 2,
                     .heads = 4,
                     .kv_heads = 4,
                     .seq = 61,
                     .head_dim = 8,
                     .value_dim = 6,
                     .scale = default_scale(8)};
  if (variant.op == Operator::lightning) problem.slopes = alibi_slopes(problem.heads);
  int ran = 0;
  for (const int size : {1, 2, 4}) {
    if (variant.unsupported(problem, size)) continue;
    ++ran;
    std::vector<Bytes> at_once(static_cast<std::size_t>(size));
    run_ranks(size, kPlain, [&](Communicator& comm) {
      const auto device = make_cpu_device({.poison = true});
      at_once[static_cast<std::size_t>(comm.rank())] = results(variant, problem, comm, *device);
    });
    for (const ThreadGroupOptions& options : {kPlain, kLate}) {
      run_ranks(size, options, [&](Communicator& comm) {
        const auto cpu = make_cpu_device({.poison = true});
        DeferredDevice device(*cpu, comm.rank());
        EXPECT_EQ(results(variant, problem, comm, device), at_once[static_cast<std::size_t>(comm.rank())])
            << "rank " << comm.rank() << " of " << size;
      });
    }
  }
  EXPECT_GT(ran, 0);
}

std::vector<const Variant*> all() {
  std::vector<const Variant*> pointers;
  for (const Variant& variant : variants()) pointers.push_back(&variant);
  return pointers;
}

INSTANTIATE_TEST_SUITE_P(All, DeferredVariant, testing::ValuesIn(all()), [](const auto& of) {
  std::string name = of.param->name + '_' + std::string(to_string(of.param->op));
  std::ranges::replace(name, '.', '_');
  return name;
});

}  // namespace
}  // namespace ringside
