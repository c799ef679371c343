#include "distributed/comm/communicator_suite.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "distributed/comm/collective_suite.h"
#include "distributed/comm/deadline.h"
#include "distributed/comm/test_device.h"

namespace ringside::test {
namespace {

using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;

void ring(Communicator& comm, Device& device) {
  if (comm.size() == 1) return;
  Tensor here = filled(device, 33, number(comm.rank()));
  Tensor next = filled(device, 33, -1);
  for (int step = 1; step <= comm.size(); ++step) {
    comm.exchange({{right_of(comm), here}}, {{left_of(comm), next}}, "ring").wait();
    std::swap(here, next);
    EXPECT_THAT(values(here), Each(number((comm.rank() - step + comm.size()) % comm.size())));
  }
}

// Half exchanges: the first rank only sends, the last only receives.
void chain(Communicator& comm, Device& device) {
  const Tensor state = filled(device, 5, 0);
  if (comm.rank() > 0) comm.exchange({}, {{comm.rank() - 1, state}}, "state from the left").wait();
  EXPECT_THAT(values(state), Each(number(comm.rank())));
  device.fill(state, number(comm.rank() + 1));
  if (comm.rank() + 1 < comm.size())
    comm.exchange({{comm.rank() + 1, state}}, {}, "state to the right").wait();
}

void messages_between_two_ranks_stay_in_order(Communicator& comm, Device& device) {
  if (comm.size() == 1) return;
  constexpr int kMessages = 40;
  std::vector<Tensor> received;
  std::vector<Request> request;
  for (int i = 0; i < kMessages; ++i) {
    received.push_back(filled(device, 1 + i % 7, -1));
    request.push_back(
        comm.exchange({{right_of(comm), filled(device, 1 + i % 7, number(100 * comm.rank() + i))}},
                      {{left_of(comm), received.back()}}, "many"));
  }
  for (int i = kMessages - 1; i >= 0; --i) {
    const auto at = static_cast<std::size_t>(i);
    request[at].wait();
    EXPECT_THAT(values(received[at]), Each(number(100 * left_of(comm) + i)));
  }
}

void everyone_to_everyone_in_one_exchange(Communicator& comm, Device& device) {
  std::vector<std::int64_t> expected(static_cast<std::size_t>(comm.size()));
  std::iota(expected.begin(), expected.end(), 7);
  EXPECT_EQ(gather(comm, device, comm.rank() + 7), expected);
}

void empty_messages_arrive(Communicator& comm, Device& device) {
  if (comm.size() == 1) return;
  const Tensor nothing = device.allocate({2, 3, 0, 4}, DType::bf16);
  const Tensor one = filled(device, 1, -1);
  comm.exchange(
          {{right_of(comm), nothing}, {right_of(comm), filled(device, 1, 3)}, {right_of(comm), Tensor()}},
          {{left_of(comm), nothing}, {left_of(comm), one}, {left_of(comm), Tensor()}}, "empty")
      .wait();
  EXPECT_THAT(values(one), ElementsAre(3));
  EXPECT_EQ(comm.traffic().bytes, 4);
  EXPECT_EQ(comm.traffic().messages, 3);
}

void keys_and_values_of_different_sizes_and_types(Communicator& comm, Device& device) {
  if (comm.size() == 1) return;
  const Shape k_shape{2, 3, 5, 7};
  const Shape v_shape{2, 3, 5, 11};
  const Tensor k = device.allocate(k_shape, DType::fp32), next_k = device.allocate(k_shape, DType::fp32);
  const Tensor v = device.allocate(v_shape, DType::bf16), next_v = device.allocate(v_shape, DType::bf16);
  device.fill(k, number(comm.rank()));
  device.fill(v, number(comm.rank() + 10));
  comm.exchange({{right_of(comm), k}, {right_of(comm), v}},
                {{left_of(comm), next_k}, {left_of(comm), next_v}}, "k, v")
      .wait();
  EXPECT_THAT(values(next_k), Each(number(left_of(comm))));
  std::vector<BFloat16> host(static_cast<std::size_t>(v_shape.size()));
  device.download(next_v, std::as_writable_bytes(std::span(host)));
  for (const BFloat16 element : host) EXPECT_EQ(to_float(element), number(left_of(comm) + 10));
}

// A legal MPI program: rank 1 goes on only when rank 0, which waits for rank 2, takes what it has posted for;
// and rank 2 waits for rank 1.
void a_wait_serves_what_else_was_posted(Communicator& comm, Device& device) {
  if (comm.size() < 3) return;
  const Tensor x = filled(device, 3, 1), y = filled(device, 3, 2);
  if (comm.rank() == 0) {
    Request from_1 = comm.exchange({}, {{1, y}}, "from 1");
    Request from_2 = comm.exchange({}, {{2, x}}, "from 2");
    from_2.wait();
    EXPECT_THAT(values(x), Each(22));
    from_1.wait();
    EXPECT_THAT(values(y), Each(10));
  } else if (comm.rank() == 1) {
    comm.exchange({{0, filled(device, 3, 10)}}, {}, "to 0").wait();
    comm.exchange({{2, filled(device, 3, 12)}}, {}, "to 2").wait();
  } else if (comm.rank() == 2) {
    comm.exchange({}, {{1, x}}, "from 1").wait();
    EXPECT_THAT(values(x), Each(12));
    comm.exchange({{0, filled(device, 3, 22)}}, {}, "to 0").wait();
  }
}

void a_dropped_request_is_waited_for(Communicator& comm, Device& device) {
  if (comm.size() == 1) return;
  const Tensor first = filled(device, 4, -1), second = filled(device, 4, -1), third = filled(device, 4, -1);
  const Tensor mine = filled(device, 4, number(comm.rank()));
  const auto pass = [&](const Tensor& to) {
    return comm.exchange({{right_of(comm), mine}}, {{left_of(comm), to}}, "x");
  };
  {
    Request request = pass(first);
    request = pass(second);
    EXPECT_THAT(values(first), Each(number(left_of(comm))));
    const Request moved = std::move(request);
  }
  EXPECT_THAT(values(second), Each(number(left_of(comm))));
  Request request = pass(third);
  request.wait();
  request.wait();
  EXPECT_THAT(values(third), Each(number(left_of(comm))));
}

void sends_are_counted(Communicator& comm, Device& device) {
  EXPECT_EQ(comm.traffic(), Traffic{});
  const bool first = comm.rank() == 0;
  if (comm.size() > 1 && comm.rank() < 2) {
    const Tensor a = filled(device, 10, 0);
    const Tensor b = device.allocate({1, 2, 3, 1}, DType::bf16);
    device.fill(b, 0);
    std::vector<Message> messages{{first ? 1 : 0, a}, {first ? 1 : 0, b}};
    comm.exchange(first ? messages : std::vector<Message>{}, first ? std::vector<Message>{} : messages,
                  "a, b")
        .wait();
  }
  comm.barrier();
  EXPECT_EQ(comm.traffic(), (first && comm.size() > 1 ? Traffic{52, 2, 0} : Traffic{}));
  const auto part = comm.split(0, 0);
  EXPECT_EQ(part->traffic(), Traffic{});
}

// World W = dp·sp: sp_rank = rank % sp, dp_rank = rank / sp.
void the_world_splits_into_a_grid(Communicator& comm, Device& device) {
  for (int sp = 1; sp <= comm.size(); ++sp) {
    if (comm.size() % sp != 0) continue;
    const auto sequence = comm.split(comm.rank() / sp, comm.rank());
    const auto data = comm.split(comm.rank() % sp, comm.rank());
    EXPECT_EQ(sequence->size(), sp);
    EXPECT_EQ(sequence->rank(), comm.rank() % sp);
    EXPECT_EQ(data->size(), comm.size() / sp);
    EXPECT_EQ(data->rank(), comm.rank() / sp);
    // Both groups at work at once: what is sent in one must not arrive in the other.
    std::vector<std::int64_t> sequence_group(static_cast<std::size_t>(sp)), data_group;
    std::iota(sequence_group.begin(), sequence_group.end(), comm.rank() / sp * sp);
    for (int r = comm.rank() % sp; r < comm.size(); r += sp) data_group.push_back(r);
    EXPECT_EQ(gather(*sequence, device, comm.rank()), sequence_group);
    EXPECT_EQ(gather(*data, device, comm.rank()), data_group);
    EXPECT_EQ(gather(*sequence, device, comm.rank()), sequence_group);
    comm.barrier();
    data->barrier();
  }
  if (comm.size() == 8) {
    const auto group = [&](int color) { return gather(*comm.split(color, 0), device, comm.rank()); };
    const auto sequence = group(comm.rank() / 4);
    const auto data = group(comm.rank() % 4);
    if (comm.rank() == 5) {
      EXPECT_THAT(sequence, ElementsAre(4, 5, 6, 7));
      EXPECT_THAT(data, ElementsAre(1, 5));
    }
  }
}

void split_orders_by_key(Communicator& comm, Device& device) {
  const auto reversed = comm.split(3, -comm.rank());
  EXPECT_EQ(reversed->rank(), comm.size() - 1 - comm.rank());
  std::vector<std::int64_t> expected(static_cast<std::size_t>(comm.size()));
  std::iota(expected.rbegin(), expected.rend(), 0);
  EXPECT_EQ(gather(*reversed, device, comm.rank()), expected);
  const auto again = reversed->split(reversed->rank() == 0 ? 0 : 1, 0);
  EXPECT_EQ(again->size(), comm.rank() == comm.size() - 1 ? 1 : comm.size() - 1);
  EXPECT_THROW(static_cast<void>(comm.split(-1, 0)), std::invalid_argument);
}

// The clock is the machine's: no rank leaves before the last has come.
void nobody_leaves_a_barrier_early(Communicator& comm, Device& device) {
  const auto now = [] { return static_cast<std::int64_t>(Clock::now().time_since_epoch().count()); };
  for (int round = 0; round < 10; ++round) {
    const std::int64_t came = now();
    comm.barrier();
    const std::int64_t left = now();
    const auto all_came = gather(comm, device, came);
    const auto all_left = gather(comm, device, left);
    EXPECT_LE(std::ranges::max(all_came), std::ranges::min(all_left));
  }
}

void wrong_peers_are_refused(Communicator& comm, Device& device) {
  const Tensor x = filled(device, 1, 0);
  for (const int peer : {-1, comm.rank(), comm.size()}) {
    EXPECT_THROW(comm.exchange({{peer, x}}, {}, "wrong").wait(), std::invalid_argument);
    EXPECT_THROW(comm.exchange({}, {{peer, x}}, "wrong").wait(), std::invalid_argument);
  }
  EXPECT_EQ(comm.traffic(), Traffic{});
}

}  // namespace

std::vector<std::int64_t> gather(Communicator& comm, Device& device, std::int64_t mine) {
  const Shape shape{1, 1, 1, 2};  // 8 bytes
  std::vector<Message> sends, receives;
  std::vector<Tensor> all;
  for (int peer = 0; peer < comm.size(); ++peer) {
    all.push_back(device.allocate(shape, DType::fp32));
    if (peer != comm.rank()) receives.push_back({peer, all.back()});
  }
  const Tensor& own = all[static_cast<std::size_t>(comm.rank())];
  device.upload(std::as_bytes(std::span(&mine, 1)), own);
  for (const Message& message : receives) sends.push_back({message.peer, own});
  comm.exchange(sends, receives, "gather").wait();
  std::vector<std::int64_t> given(all.size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    device.download(all[i], std::as_writable_bytes(std::span(&given[i], 1)));
  }
  return given;
}

std::span<const SuiteCase> communicator_suite() {
#define RINGSIDE_CASE(name) \
  { #name, name }
  static constexpr SuiteCase kCases[] = {
      RINGSIDE_CASE(ring),
      RINGSIDE_CASE(chain),
      RINGSIDE_CASE(messages_between_two_ranks_stay_in_order),
      RINGSIDE_CASE(everyone_to_everyone_in_one_exchange),
      RINGSIDE_CASE(all_to_all_gives_each_rank_its_part),
      RINGSIDE_CASE(all_gather_gives_each_rank_all_shares),
      RINGSIDE_CASE(all_to_all_among_some_ranks),
      RINGSIDE_CASE(reduce_scatter_adds_in_the_order_of_ranks),
      RINGSIDE_CASE(empty_messages_arrive),
      RINGSIDE_CASE(keys_and_values_of_different_sizes_and_types),
      RINGSIDE_CASE(a_wait_serves_what_else_was_posted),
      RINGSIDE_CASE(a_dropped_request_is_waited_for),
      RINGSIDE_CASE(sends_are_counted),
      RINGSIDE_CASE(the_world_splits_into_a_grid),
      RINGSIDE_CASE(split_orders_by_key),
      RINGSIDE_CASE(nobody_leaves_a_barrier_early),
      RINGSIDE_CASE(wrong_peers_are_refused),
  };
#undef RINGSIDE_CASE
  return kCases;
}

void expect_deadline(Communicator& comm, Device& device) {
  if (comm.rank() != 0) return;
  const Tensor k = filled(device, 8, 0), v = filled(device, 4, 0);
  const int last = comm.size() - 1;
  Request request = comm.exchange({}, {{last, k}, {last, v}}, "ring forward, step 2: k, v");
  try {
    request.wait();
    ADD_FAILURE() << "a message that nobody sent has arrived";
  } catch (const InfrastructureError& error) {
    const std::string peer = " from rank " + std::to_string(last);
    EXPECT_THAT(error.what(), AllOf(HasSubstr("rank 0 of " + std::to_string(comm.size()) + ": waited "),
                                    HasSubstr(" s in 'ring forward, step 2: k, v': receive of 32 bytes" +
                                              peer + "; receive of 16 bytes" + peer)));
  }
}

}  // namespace ringside::test
