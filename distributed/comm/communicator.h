// How ranks talk: one interface for threads, MPI and what comes later.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/tensor.h"

namespace ringside {

/// What one rank has sent: the counting rule of the byte formulas.
struct Traffic {
  std::int64_t bytes = 0;
  std::int64_t messages = 0;     ///< point-to-point messages
  std::int64_t collectives = 0;  ///< all-gathers, reduce-scatters, all-to-alls
  friend bool operator==(const Traffic&, const Traffic&) = default;
  Traffic& operator+=(const Traffic& other) {
    bytes += other.bytes;
    messages += other.messages;
    collectives += other.collectives;
    return *this;
  }
  friend Traffic operator-(const Traffic& a, const Traffic& b) {
    return {a.bytes - b.bytes, a.messages - b.messages, a.collectives - b.collectives};
  }
};

/// One message: to `peer` when sent, from `peer` when received.
struct Message {
  int peer = 0;
  Tensor tensor;
};

/// Some ranks of a group, one after the other.
struct RankRange {
  int first = 0;
  int count = 0;
};

/// Communication under way. It holds its tensors until wait(); no operation of a device that reads a received
/// tensor, or writes a sent one, may be called before. Its communicator must outlive it. Destroying a Request
/// that was not waited for waits, and swallows the error.
class [[nodiscard]] Request {
 public:
  /// What an implementation keeps of an operation under way.
  class State {
   public:
    virtual ~State() = default;
    /// What the tensors' devices are asked for from now on comes after the arrival and departure of all
    /// messages: see Request::wait().
    virtual void wait() = 0;
  };

  Request() = default;
  explicit Request(std::unique_ptr<State> state) : state_(std::move(state)) {}
  Request(Request&&) = default;
  Request& operator=(Request&& other) noexcept;  ///< what it held is waited for, as in the destructor
  ~Request();

  /// When it returns, all messages have arrived and left, or will have before whatever the tensors' devices
  /// are asked for from now on. Throws InfrastructureError naming operation, peers, bytes when the deadline
  /// passes. The second call returns at once.
  void wait();

 private:
  std::unique_ptr<State> state_;
};

/// A group of ranks as one rank sees it. Calls of one group are made by all its ranks in matching order;
/// messages between two ranks arrive in the order sent. One thread at a time.
class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  /// Starts sending and receiving, all at once, behind all that the tensors' devices were asked for before,
  /// and counts what is sent; nobody need synchronise them. `label` names the operation in an error ("ring
  /// forward, step 2: k, v"). Throws std::invalid_argument for a peer outside the group or itself.
  Request exchange(std::vector<Message> sends, std::vector<Message> receives, std::string label);

  /// Starts a collective in which sends[p] goes to rank p and receives[p] comes from it; both hold one tensor
  /// a rank, and the rank's own is copied by its device, unless both hold the same. Counted as one collective
  /// and the bytes that leave. Order and errors as in exchange(); std::invalid_argument also unless
  /// there is one of each a rank.
  Request all_to_all(std::vector<Tensor> sends, std::vector<Tensor> receives, std::string label);
  /// The same among some ranks, of which this is one: sends[p] goes to rank among.first + p.
  Request all_to_all(RankRange among, std::vector<Tensor> sends, std::vector<Tensor> receives,
                     std::string label);

  /// Starts a collective in which `send` goes to every rank and receives[p] comes from rank p, whose share
  /// may have a size of its own; receives[rank()] is a copy of `send`, or the same. Counted as one collective
  /// and the bytes that leave. Order and errors as in all_to_all().
  Request all_gather(const Tensor& send, std::vector<Tensor> receives, std::string label);

  /// Starts a collective in which sends[p], fp32, goes to rank p, and `sum`, added up in wait(), is what all
  /// ranks have for this one, in the order of ranks: its bits do not depend on who comes when. What arrives
  /// lies in memory of sum's device meanwhile. Counted as one collective and the bytes that leave. Order and
  /// errors as in all_to_all().
  Request reduce_scatter(std::vector<Tensor> sends, const Tensor& sum, std::string label);

  /// Returns when every rank of the group has called it, whatever their devices still do. Not counted.
  virtual void barrier() = 0;

  /// The ranks that gave the same color (>= 0), ordered by key, then rank, as a group of its own with the
  /// same deadline and with traffic counted from 0. The parent must outlive it.
  virtual std::unique_ptr<Communicator> split(int color, int key) = 0;

  /// What this rank has sent through this communicator so far.
  const Traffic& traffic() const { return traffic_; }

 private:
  virtual Request start(std::vector<Message> sends, std::vector<Message> receives, std::string label) = 0;

  Traffic traffic_;
};

}  // namespace ringside
