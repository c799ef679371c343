// Bugs in transit, in any variant.
#include <algorithm>
#include <cmath>
#include <map>
#include <stdexcept>
#include <thread>

#include "harness/mutants/mutant.h"
#include "harness/mutants/rewrite.h"
#include "harness/run/communicator_decorator.h"

namespace ringside {
namespace {

using Base = CommunicatorDecorator;

/// Keeps what memory held before anything arrived in it: NaN if the harness has poisoned it.
struct BeforeArrival : Base {
  using Base::Base;
  std::map<const std::byte*, Tensor> before;
  void expected(const Message& message, const std::string&) override {
    before[message.tensor.data()] = snapshot(message.tensor);
  }
};

/// What is read is what memory held before the message came.
struct MissingWait : BeforeArrival {
  using BeforeArrival::BeforeArrival;
  void arrived(const Message& message, const std::string&) override {
    overwrite(message.tensor, before.at(message.tensor.data()));
  }
};

/// Two buffers, the wrong one read: a message shows what the one before it, of the same size, held.
struct StaleBuffer : Base {
  using Base::Base;
  std::map<std::size_t, Tensor> last;  // by bytes
  void arrived(const Message& message, const std::string&) override {
    const Tensor now = snapshot(message.tensor);
    Tensor& stale = last[now.size_bytes()];
    if (stale) overwrite(message.tensor, stale);
    stale = now;
  }
};

/// The last hop brings nothing: what has come one hop short of home is taken for the own gradients.
struct OneHopShort : Base {
  OneHopShort(std::unique_ptr<Communicator> real, int ranks_of_a_stop)
      : Base(std::move(real)), stops(size() / ranks_of_a_stop) {}
  static bool is_hop(const std::string& what) { return what.find("dk, dv") != what.npos; }
  int stops;
  std::vector<Tensor> sent;
  int hops = 0;
  std::size_t received = 0;
  void begins(const std::string& what) override {
    if (!is_hop(what)) return;
    sent.clear();
    received = 0;
    hops = hops % stops + 1;
  }
  void leaving(Message& message, const std::string& what) override {
    if (is_hop(what)) sent.push_back(snapshot(message.tensor));
  }
  void arrived(const Message& message, const std::string& what) override {
    if (!is_hop(what) || hops < stops) return;
    const Tensor& mine = sent[received++];
    const Tensor& home = message.tensor;
    home.device().copy_part(mine, {}, home, {}, home.shape().heads,
                            std::min(mine.shape().tokens, home.shape().tokens));
  }
};

struct OverwrittenWhileSent : Base {
  using Base::Base;
  void leaving(Message& message, const std::string& what) override {
    if (!holds_dk_dv(what)) return;
    message.tensor = snapshot(message.tensor);
    const Index tokens = message.tensor.shape().tokens;
    fill_tokens(message.tensor, tokens / 2, tokens, 0);
  }
};

struct BatchRotated : Base {
  using Base::Base;
  void arrived(const Message& message, const std::string&) override { roll_batch(message.tensor, 1); }
};

struct StateInBf16 : Base {
  using Base::Base;
  void arrived(const Message& message, const std::string&) override { transform(message.tensor, as_bf16); }
};

struct StateDropped : Base {
  using Base::Base;
  void arrived(const Message& message, const std::string&) override {
    if (rank() == 1) transform(message.tensor, [](float) { return 0.0F; });
  }
};

struct BytesFlipped : Base {
  using Base::Base;
  void arrived(const Message& message, const std::string&) override {
    if (rank() != 1) return;
    edit(message.tensor, [bytes = message.tensor.size_bytes()](const Tensor& host) {
      for (std::size_t i = bytes / 2; i < bytes; ++i) host.data()[i] ^= std::byte{0xff};
    });
  }
};

struct Truncated : BeforeArrival {
  using BeforeArrival::BeforeArrival;
  void arrived(const Message& message, const std::string&) override {
    if (rank() != 1) return;
    overwrite(message.tensor, before.at(message.tensor.data()), message.tensor.size_bytes() / 2);
  }
};

/// Twice as late as the deadline, at its first operation.
struct NeverArrives : Base {
  using Base::Base;
  bool late = false;
  void begins(const std::string&) override {
    if (rank() == 1 && !std::exchange(late, true)) std::this_thread::sleep_for(std::chrono::seconds(2));
  }
};

struct Dies : Base {
  using Base::Base;
  void begins(const std::string& what) override {
    if (rank() == 1) throw std::runtime_error("rank 1 died in " + what);
  }
};

/// Groups of every dp-th rank instead of sp neighbours.
std::unique_ptr<Communicator> world_of_wrong_groups(Communicator& world) {
  return std::make_unique<WorldDecorator>(world, [](Communicator& real, int color, int key) {
    auto right = real.split(color, key);
    const int groups = real.size() / right->size();
    if (groups == 1) return right;
    return real.split(real.rank() % groups, real.rank() / groups);
  });
}

}  // namespace

void add_message_bugs(Mutants& list) {
  const auto all = distributed_variants(), states = state_variants();
  auto gradients = all;  // sent
  std::erase_if(gradients, [&](const Variant* v) { return std::ranges::count(states, v) > 0; });
  add_in_transit<MissingWait>(list, 7, "missing_wait", "received tensors are read before they have arrived",
                              all);
  add_in_transit<StaleBuffer>(list, 7, "stale_buffer", "of two receive buffers the older is read", all);
  for (const Variant* variant : ring_variants()) {
    const auto make = [ranks = variant->layout.parts](Communicator& real, int color, int key) {
      return std::make_unique<OneHopShort>(real.split(color, key), ranks);
    };
    list.push_back({9, "one_hop_short", "dk, dv stop one hop before their home", *variant,
                    [make](Communicator& world) { return std::make_unique<WorldDecorator>(world, make); }});
  }
  add_in_transit<OverwrittenWhileSent>(list, 11, "overwritten_while_sent",
                                       "dk, dv are cleared while they leave", gradients);
  add_in_transit<BatchRotated>(list, 19, "batch_rotated", "batch entries of what arrives are rotated", all);
  for (const Variant* variant : all) {
    list.push_back({32, "groups_of_global_ranks", "sequence groups are made of every dp-th rank", *variant,
                    world_of_wrong_groups});
  }
  add_in_transit<StateInBf16>(list, 45, "state_in_bf16", "the state is rounded to bf16 between ranks",
                              states);
  add_in_transit<StateDropped>(list, 46, "state_dropped", "rank 1 drops the state it receives", states);
  add_in_transit<BytesFlipped>(list, 52, "bytes_flipped",
                               "half of what rank 1 receives has its bits inverted", all);
  add_in_transit<Truncated>(list, 52, "truncated", "half of what rank 1 receives is missing", all);
  add_in_transit<NeverArrives>(list, 53, "never_arrives",
                               "rank 1 does not come to its first operation in time", all);
  add_in_transit<Dies>(list, 54, "dies", "rank 1 dies in its first operation", all);
  for (Mutant& mutant : list) {
    if (mutant.number != 53 && mutant.number != 54) continue;
    mutant.ends_with =
        mutant.number == 53 ? ": waited " : "rank 1";  // in a chain the next rank but one may be first
    mutant.deadline_s = 1;
  }
}

}  // namespace ringside
