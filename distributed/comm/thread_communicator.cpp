#include "distributed/comm/thread_communicator.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "distributed/comm/rank_threads.h"
#include "distributed/comm/thread_world.h"

namespace ringside {
namespace {

using threads::Group;
using threads::Member;
using threads::Operation;
using threads::World;

class ThreadCommunicator final : public Communicator {
 public:
  explicit ThreadCommunicator(Member member) : member_(std::move(member)) {}

  int rank() const override { return member_.rank; }
  int size() const override { return member_.group->size(); }

  void barrier() override {
    std::unique_lock lock(member_.world().mutex);
    member_.meet(lock, "barrier", [] {});
  }

  std::unique_ptr<Communicator> split(int color, int key) override {
    if (color < 0) throw std::invalid_argument(fmt::format("split: color {} < 0", color));
    Group& group = *member_.group;
    std::unique_lock lock(group.world.mutex);
    group.colors[static_cast<std::size_t>(rank())] = {color, key};
    member_.meet(lock, "split", [&] { divide(group); });
    auto [part, part_rank] = std::move(group.split[static_cast<std::size_t>(rank())]);
    return std::make_unique<ThreadCommunicator>(Member{std::move(part), part_rank});
  }

 private:
  /// Makes the groups of a split() and hands each rank its own.
  static void divide(Group& group) {
    std::vector<std::size_t> order(group.colors.size());
    std::iota(order.begin(), order.end(), 0u);
    std::ranges::stable_sort(order, {}, [&](std::size_t rank) { return group.colors[rank]; });
    for (auto begin = order.begin(); begin != order.end();) {
      const auto end = std::find_if(
          begin, order.end(), [&](auto r) { return group.colors[r].first != group.colors[*begin].first; });
      std::vector<int> ranks;
      for (auto r = begin; r != end; ++r) ranks.push_back(group.world_ranks[*r]);
      const auto part = std::make_shared<Group>(group.world, std::move(ranks));
      for (auto r = begin; r != end; ++r) group.split[*r] = {part, static_cast<int>(r - begin)};
      begin = end;
    }
  }

  Request start(std::vector<Message> sends, std::vector<Message> receives, std::string label) override {
    if (member_.world().options.poison) {
      for (const Message& m : receives) {
        if (m.tensor) m.tensor.device().fill(m.tensor, std::numeric_limits<float>::quiet_NaN());
      }
    }
    return Request(
        std::make_unique<Operation>(member_, std::move(sends), std::move(receives), std::move(label)));
  }

  const Member member_;
};

}  // namespace

void run_ranks(int size, const ThreadGroupOptions& options, const std::function<void(Communicator&)>& body) {
  if (size < 1) throw std::invalid_argument(fmt::format("run_ranks: {} ranks", size));
  World world(size, options);
  std::vector<int> ranks(static_cast<std::size_t>(size));
  std::iota(ranks.begin(), ranks.end(), 0);
  const auto group = std::make_shared<Group>(world, ranks);
  run_rank_threads(
      size, options.timeout,
      [&](int rank) {
        ThreadCommunicator comm(Member{group, rank});
        body(comm);
      },
      [&](int rank, std::exception_ptr exception) { world.fail(rank, std::move(exception)); });
  if (world.cause) std::rethrow_exception(world.cause);
}

}  // namespace ringside
