#include "distributed/comm/collective_suite.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "distributed/comm/communicator_suite.h"
#include "distributed/comm/test_device.h"

namespace ringside::test {

using testing::Each;

// Part p of rank r is r + 1 elements of value 100·r + p, so that every message has its own size and contents.
void all_to_all_gives_each_rank_its_part(Communicator& comm, Device& device) {
  const Traffic before = comm.traffic();
  std::vector<Tensor> sends, receives;
  for (int p = 0; p < comm.size(); ++p) {
    sends.push_back(filled(device, comm.rank() + 1, number(100 * comm.rank() + p)));
    receives.push_back(filled(device, p + 1, -1));
  }
  comm.all_to_all(sends, receives, "transpose").wait();
  for (int p = 0; p < comm.size(); ++p) {
    EXPECT_THAT(values(receives[static_cast<std::size_t>(p)]), Each(number(100 * p + comm.rank())));
  }
  const Traffic sent = comm.traffic() - before;
  const int others = comm.size() - 1;
  EXPECT_EQ(sent, (Traffic{.bytes = 4 * others * (comm.rank() + 1), .collectives = others > 0 ? 1 : 0}));

  const auto own = static_cast<std::size_t>(comm.rank());
  receives[own] = sends[own];  // nothing to copy
  device.fill(sends[own], -2);
  comm.all_to_all(sends, receives, "transpose, own part in place").wait();
  EXPECT_THAT(values(receives[own]), Each(-2));

  sends.pop_back();
  EXPECT_THROW(static_cast<void>(comm.all_to_all(sends, receives, "one short")), std::invalid_argument);
}

// Rank r shares r elements: the first nothing.
void all_gather_gives_each_rank_all_shares(Communicator& comm, Device& device) {
  const Traffic before = comm.traffic();
  const Tensor mine = filled(device, comm.rank(), number(comm.rank()));
  std::vector<Tensor> all;
  for (int p = 0; p < comm.size(); ++p) all.push_back(filled(device, p, -1));
  comm.all_gather(mine, all, "shares").wait();
  for (int p = 0; p < comm.size(); ++p) {
    EXPECT_THAT(values(all[static_cast<std::size_t>(p)]), Each(number(p)));
  }
  const Traffic sent = comm.traffic() - before;
  const int others = comm.size() - 1;
  EXPECT_EQ(sent, (Traffic{.bytes = 4 * others * comm.rank(), .collectives = others > 0 ? 1 : 0}));

  // Two under way, the own share in place; the later is waited for first.
  std::vector<Tensor> first, second;
  for (int p = 0; p < comm.size(); ++p) {
    first.push_back(filled(device, 3, number(10 + p)));
    second.push_back(filled(device, 3, number(20 + p)));
    if (p == comm.rank()) continue;
    device.fill(first.back(), -1);
    device.fill(second.back(), -1);
  }
  const auto own = static_cast<std::size_t>(comm.rank());
  Request earlier = comm.all_gather(first[own], first, "first");
  Request later = comm.all_gather(second[own], second, "second");
  later.wait();
  earlier.wait();
  for (int p = 0; p < comm.size(); ++p) {
    EXPECT_THAT(values(first[static_cast<std::size_t>(p)]), Each(number(10 + p)));
    EXPECT_THAT(values(second[static_cast<std::size_t>(p)]), Each(number(20 + p)));
  }

  all.pop_back();
  EXPECT_THROW(static_cast<void>(comm.all_gather(mine, all, "one short")), std::invalid_argument);
}

// Pairs of ranks, and the last alone if their number is odd; part p of rank r is p + 1 elements of 100·r + p.
void all_to_all_among_some_ranks(Communicator& comm, Device& device) {
  const Traffic before = comm.traffic();
  const int first = comm.rank() / 2 * 2, count = std::min(2, comm.size() - first);
  std::vector<Tensor> sends, receives;
  for (int p = 0; p < count; ++p) {
    sends.push_back(filled(device, p + 1, number(100 * comm.rank() + p)));
    receives.push_back(filled(device, comm.rank() - first + 1, -1));
  }
  comm.all_to_all({first, count}, sends, receives, "pairs").wait();
  for (int p = 0; p < count; ++p) {
    EXPECT_THAT(values(receives[static_cast<std::size_t>(p)]),
                Each(number(100 * (first + p) + comm.rank() - first)));
  }
  const Traffic sent = comm.traffic() - before;
  const int other = comm.rank() == first ? 2 : 1;  // elements of the other's part
  EXPECT_EQ(sent, (Traffic{.bytes = count > 1 ? 4 * other : 0, .collectives = count > 1 ? 1 : 0}));

  const int size = comm.size();
  for (const RankRange wrong : {RankRange{-1, 2}, {0, size + 1}, {comm.rank() + 1, 1}, {0, comm.rank()}}) {
    const std::vector<Tensor> tensors(static_cast<std::size_t>(wrong.count), filled(device, 1, 0));
    EXPECT_THROW(static_cast<void>(comm.all_to_all(wrong, tensors, tensors, "wrong")), std::invalid_argument);
  }
}

// Of rank r's shares the one for p has p elements of 2^(-12·r), but (-1)^p·2^12 on rank 0: the sum depends on
// the order. Rank 0 gets an empty one.
void reduce_scatter_adds_in_the_order_of_ranks(Communicator& comm, Device& device) {
  const auto share = [](int rank, int to) {
    if (rank == 0) return to % 2 == 0 ? 0x1p12F : -0x1p12F;
    return std::ldexp(1.0F, -12 * rank);
  };
  const Traffic before = comm.traffic();
  std::vector<Tensor> sends;
  for (int p = 0; p < comm.size(); ++p) sends.push_back(filled(device, p, share(comm.rank(), p)));
  const Tensor sum = filled(device, comm.rank(), -1);
  Request request = comm.reduce_scatter(sends, sum, "sums");
  const Tensor other = filled(device, comm.rank(), -1);  // a second one meanwhile
  Request second = comm.reduce_scatter(sends, other, "the same");
  second.wait();
  request.wait();
  float expected = share(0, comm.rank());
  for (int r = 1; r < comm.size(); ++r) expected += share(r, comm.rank());
  EXPECT_THAT(values(sum), Each(expected));
  EXPECT_THAT(values(other), Each(expected));
  Traffic once = {.collectives = comm.size() > 1 ? 1 : 0};
  for (int p = 0; p < comm.size(); ++p) once.bytes += p == comm.rank() ? 0 : 4 * p;
  Traffic twice = once;
  twice += once;
  EXPECT_EQ(comm.traffic() - before, twice);

  sends.pop_back();
  EXPECT_THROW(static_cast<void>(comm.reduce_scatter(sends, sum, "one short")), std::invalid_argument);
}

}  // namespace ringside::test
