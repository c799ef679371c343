#include "distributed/comm/process_group.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <stdexcept>

#include "reference/error.h"

namespace ringside {
namespace {

using namespace std::chrono_literals;
using Bytes = ProcessGroup::Bytes;

/// `count` bytes that tell who made them for whom.
Bytes pattern(std::size_t count, int from, int to) {
  Bytes bytes(count);
  for (std::size_t i = 0; i < count; ++i) {
    bytes[i] = static_cast<std::byte>((i * 7 + static_cast<std::size_t>(from * 31 + to * 17)) % 251);
  }
  return bytes;
}

struct Kind {
  const char* name;
  std::function<ProcessGroup()> make;
  friend std::ostream& operator<<(std::ostream& out, const Kind& kind) { return out << kind.name; }
};

class ProcessGroupTest : public testing::TestWithParam<Kind> {
 protected:
  ProcessGroup group = GetParam().make();
};

TEST_P(ProcessGroupTest, GathersEntriesOfAnySize) {
  const auto entry = [](int rank) { return pattern(static_cast<std::size_t>(rank * rank * 1000), rank, 0); };
  const auto all = group.all_gather(entry(group.rank()), "rows");
  ASSERT_EQ(all.size(), static_cast<std::size_t>(group.size()));
  for (int rank = 0; rank < group.size(); ++rank) EXPECT_EQ(all[static_cast<std::size_t>(rank)], entry(rank));
}

TEST_P(ProcessGroupTest, ExchangesUnevenEntries) {
  const auto size_of_entry = [](int from, int to) {
    return static_cast<std::size_t>((from + 2 * to) % 3 * 4001);
  };
  for (int round = 0; round < 3; ++round) {
    std::vector<Bytes> to;
    for (int peer = 0; peer < group.size(); ++peer) {
      to.push_back(pattern(size_of_entry(group.rank(), peer), group.rank(), peer));
    }
    const auto from = group.all_to_all(std::move(to), "tensors");
    ASSERT_EQ(from.size(), static_cast<std::size_t>(group.size()));
    for (int peer = 0; peer < group.size(); ++peer) {
      EXPECT_EQ(from[static_cast<std::size_t>(peer)],
                pattern(size_of_entry(peer, group.rank()), peer, group.rank()));
    }
  }
}

TEST_P(ProcessGroupTest, RefusesAWrongNumberOfEntries) {
  const auto entries = static_cast<std::size_t>(group.size() + 1);
  EXPECT_THROW(group.all_to_all(std::vector<Bytes>(entries), "tensors"), std::invalid_argument);
}

TEST_P(ProcessGroupTest, CountsTheNode) {
  group.barrier("before");
  EXPECT_GE(group.processes_on_this_node(), 1);
  EXPECT_LE(group.processes_on_this_node(), group.size());
}

INSTANTIATE_TEST_SUITE_P(All, ProcessGroupTest,
                         testing::Values(Kind{"single", [] { return ProcessGroup::single(); }},
                                         Kind{"mpi", [] { return ProcessGroup::mpi(60s); }}),
                         [](const auto& of) { return of.param.name; });

TEST(ProcessGroup, SingleIsAlone) {
  const ProcessGroup group = ProcessGroup::single();
  EXPECT_EQ(group.rank(), 0);
  EXPECT_EQ(group.size(), 1);
  EXPECT_EQ(group.processes_on_this_node(), 1);
  EXPECT_EQ(group.rank_on_this_node(), 0);
}

TEST(ProcessGroup, RanksOfANodeAreAllDifferent) {
  ProcessGroup all = ProcessGroup::mpi(60s);
  EXPECT_LT(all.rank_on_this_node(), all.processes_on_this_node());
  const std::byte mine{static_cast<unsigned char>(all.rank_on_this_node())};
  std::set<std::byte> ranks;
  for (const auto& of : all.all_gather({&mine, 1}, "ranks")) ranks.insert(of.front());
  EXPECT_EQ(std::ssize(ranks), all.processes_on_this_node());  // the tests run on one node
}

TEST(ProcessGroup, DeadlineNamesTheOperation) {
  ProcessGroup all = ProcessGroup::mpi(60s);
  ProcessGroup hurried = ProcessGroup::mpi(1s);
  if (all.size() > 1 && all.rank() == 0) {
    try {
      hurried.all_gather({}, "results");
      ADD_FAILURE() << "gathered from processes that gave nothing";
    } catch (const InfrastructureError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr("s in 'results': receive of 8 bytes from rank 1"));
    }
  }
  all.barrier("end");
}

}  // namespace
}  // namespace ringside
