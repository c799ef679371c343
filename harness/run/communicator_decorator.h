// Communicators that pass everything on to another: the base for watching, and for planting faults in
// transit.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "distributed/comm/communicator.h"

namespace ringside {

/// Passes everything on to `real`, which must outlive it; a fault overrides what it does otherwise.
class ForwardingCommunicator : public Communicator {
 public:
  explicit ForwardingCommunicator(Communicator& real) : real_(real) {}

  int rank() const override { return real_.rank(); }
  int size() const override { return real_.size(); }
  void barrier() override { real_.barrier(); }
  std::unique_ptr<Communicator> split(int color, int key) override { return real_.split(color, key); }

 protected:
  Request start(std::vector<Message> sends, std::vector<Message> receives, std::string what) override {
    return real_.exchange(std::move(sends), std::move(receives), std::move(what));
  }

  Communicator& real_;
};

/// A sequence group whose messages go wrong. It counts its own traffic, so that what it spoils in transit
/// does not show there.
class CommunicatorDecorator : public ForwardingCommunicator {
 public:
  explicit CommunicatorDecorator(std::unique_ptr<Communicator> real)
      : ForwardingCommunicator(*real), owned_(std::move(real)) {}

 protected:
  /// Called when an operation begins.
  virtual void begins(const std::string&) {}
  /// May change, or replace by a snapshot, what is to be sent.
  virtual void leaving(Message&, const std::string&) {}
  /// Sees the memory that something will arrive in, as the subject gave it.
  virtual void expected(const Message&, const std::string&) {}
  /// May change what has arrived; called when the operation is waited for.
  virtual void arrived(const Message&, const std::string&) {}

 private:
  struct Arrival : Request::State {
    CommunicatorDecorator* self = nullptr;
    std::vector<Message> receives;
    std::string what;
    Request request;

    void wait() override {
      request.wait();
      for (const Message& message : receives) self->arrived(message, what);
    }
  };

  Request start(std::vector<Message> sends, std::vector<Message> receives, std::string what) override {
    begins(what);
    for (Message& message : sends) leaving(message, what);
    for (const Message& message : receives) expected(message, what);
    auto arrival = std::make_unique<Arrival>();
    arrival->self = this;
    arrival->receives = receives;
    arrival->what = what;
    arrival->request = real_.exchange(std::move(sends), std::move(receives), std::move(what));
    return Request(std::move(arrival));
  }

  std::unique_ptr<Communicator> owned_;
};

/// The world of a run whose sequence groups are made by `make`.
class WorldDecorator : public ForwardingCommunicator {
 public:
  using Make = std::function<std::unique_ptr<Communicator>(Communicator& world, int color, int key)>;

  WorldDecorator(Communicator& real, Make make) : ForwardingCommunicator(real), make_(std::move(make)) {}

  std::unique_ptr<Communicator> split(int color, int key) override { return make_(real_, color, key); }

 private:
  Make make_;
};

/// A world whose sequence groups are seen through the CommunicatorDecorator C.
template <typename C>
std::unique_ptr<Communicator> world_of(Communicator& world) {
  return std::make_unique<WorldDecorator>(world, [](Communicator& real, int color, int key) {
    return std::make_unique<C>(real.split(color, key));
  });
}

}  // namespace ringside
