// A device that computes after its calls have returned, as GPUs do: for tests of whoever must keep its
// operations, and what is moved between ranks, in order.
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <future>
#include <mutex>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "kernels/device.h"

namespace ringside::test {

/// Work that is done one after the other by a thread of its own, each piece after a pseudo-random time.
class Lane {
 public:
  using Done = std::shared_future<void>;

  explicit Lane(std::uint32_t seed) : random_(seed), thread_([this] { run(); }) {}
  ~Lane() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    changed_.notify_one();
  }
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  /// Any thread may call it. What `work` holds is gone when it is done.
  Done add(std::function<void()> work) {
    Piece piece{std::move(work), {}};
    Done done = piece.done.get_future().share();
    {
      const std::lock_guard lock(mutex_);
      pieces_.push_back(std::move(piece));
    }
    changed_.notify_one();
    return done;
  }
  /// Returns when all that was added is done; throws what the first that failed threw.
  void finish() {
    add([] {}).wait();
    const std::lock_guard lock(mutex_);
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  }

 private:
  struct Piece {
    std::function<void()> work;
    std::promise<void> done;
  };

  void run() {
    for (std::unique_lock lock(mutex_);;) {
      changed_.wait(lock, [&] { return ending_ || !pieces_.empty(); });
      if (pieces_.empty()) return;
      Piece piece = std::move(pieces_.front());
      pieces_.pop_front();
      lock.unlock();
      std::exception_ptr failure;
      try {
        if (random_() % 4 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random_() % 100));
        piece.work();
      } catch (...) {
        failure = std::current_exception();
      }
      piece.work = nullptr;
      piece.done.set_value();
      lock.lock();
      if (!failure_) failure_ = failure;
    }
  }

  std::minstd_rand random_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Piece> pieces_;
  std::exception_ptr failure_;
  bool ending_ = false;
  std::jthread thread_;  // last: it uses the others
};

/// Operations of `real`, a CPU device, which must outlive it, done later and in order; copies between ranks
/// beside them. Its memory is real's, but it says that it is none that hosts may touch. What an operation
/// throws, synchronize() and download() throw.
class DeferredDevice : public Device {
 public:
  DeferredDevice(Device& real, int rank)
      : real_(real),
        transfers_(static_cast<std::uint32_t>(2 * rank + 1)),
        operations_(static_cast<std::uint32_t>(2 * rank + 2)) {}

  std::string_view name() const override { return "deferred"; }
  bool flushes_denormals() const override { return real_.flushes_denormals(); }

  /// Operations called from now on wait for that.
  void hold(Lane::Done until) {
    later([until = std::move(until)] { until.wait(); });
  }

  Tensor allocate(const Shape& shape, DType dtype) override {
    const Tensor memory = real_.allocate(shape, dtype);
    return {*this, std::shared_ptr<std::byte>(memory.data(), [memory](std::byte*) {}), shape, dtype};
  }
  void upload(std::span<const std::byte> host, const Tensor& to) override {
    later([=, this, bytes = std::vector(host.begin(), host.end())] { real_.upload(bytes, to); });
  }
  void download(const Tensor& from, std::span<std::byte> host) override {
    synchronize();
    real_.download(from, host);
  }
  void fill(const Tensor& x, float value) override {
    later([=, this] { real_.fill(x, value); });
  }
  void copy(const Tensor& from, const Tensor& to) override {
    later([=, this] { real_.copy(from, to); });
  }
  void add(const Tensor& from, const Tensor& to) override {
    later([=, this] { real_.add(from, to); });
  }
  void copy_part(const Tensor& from, Corner from_at, const Tensor& to, Corner to_at, Index heads,
                 Index tokens) override {
    later([=, this] { real_.copy_part(from, from_at, to, to_at, heads, tokens); });
  }
  void sum_heads(const Tensor& from, const Tensor& to) override {
    later([=, this] { real_.sum_heads(from, to); });
  }
  void synchronize() override { operations_.finish(); }
  MemoryUse memory() const override { return real_.memory(); }
  void reset_peak() override { real_.reset_peak(); }

  Event now() override {
    return std::make_shared<Lane::Done>(operations_.add([] {}));
  }
  void after(const Event& event) override {
    if (event) hold(*std::static_pointer_cast<Lane::Done>(event));
  }
  Event peer_copy(const Tensor& from, const Event& from_ready, const Tensor& to,
                  const Event& to_ready) override {
    return std::make_shared<Lane::Done>(transfers_.add([=, this] {
      for (const Event& ready : {from_ready, to_ready}) {
        if (ready) std::static_pointer_cast<Lane::Done>(ready)->wait();
      }
      real_.copy(from, to);
    }));
  }
  bool in_host_memory() const override { return false; }
  std::shared_ptr<std::byte> host_memory(std::size_t bytes) override { return real_.host_memory(bytes); }

  void softmax_forward(const SoftmaxBlock& block, const Tensor& o, const Tensor& lse) override {
    later([=, this] { real_.softmax_forward(block, o, lse); });
  }
  void softmax_merge(const Tensor& block_o, const Tensor& block_lse, const Tensor& o,
                     const Tensor& lse) override {
    later([=, this] { real_.softmax_merge(block_o, block_lse, o, lse); });
  }
  void softmax_delta(const Tensor& o, const Tensor& dout, const Tensor& delta) override {
    later([=, this] { real_.softmax_delta(o, dout, delta); });
  }
  void softmax_backward(const SoftmaxBlock& block, const Tensor& dout, const Tensor& lse, const Tensor& delta,
                        const Tensor& dq, const Tensor& dk, const Tensor& dv) override {
    later([=, this] { real_.softmax_backward(block, dout, lse, delta, dq, dk, dv); });
  }
  void lightning_forward(const LightningChunk& chunk, const Tensor& state, const Tensor& o) override {
    later([=, this, slopes = kept(chunk.slopes)] { real_.lightning_forward(with(slopes, chunk), state, o); });
  }
  void lightning_backward(const LightningChunk& chunk, const Tensor& dout, const Tensor& state,
                          const Tensor& dstate, const Tensor& dq, const Tensor& dk,
                          const Tensor& dv) override {
    later([=, this, slopes = kept(chunk.slopes)] {
      real_.lightning_backward(with(slopes, chunk), dout, state, dstate, dq, dk, dv);
    });
  }
  void lightning_states(const Tensor& a, const Tensor& b, std::span<const float> slopes,
                        const Documents& documents, Index block, Toward toward,
                        const Tensor& states) override {
    later([=, this, slopes = kept(slopes)] {
      real_.lightning_states(a, b, slopes, documents, block, toward, states);
    });
  }
  void lightning_scan(const Tensor& states, std::span<const float> slopes, const Documents& documents,
                      Index tokens, Index block, Toward toward, const Tensor& total) override {
    later([=, this, slopes = kept(slopes)] {
      real_.lightning_scan(states, slopes, documents, tokens, block, toward, total);
    });
  }
  void lightning_forward_blocks(const LightningChunk& chunk, const BlockStates& states,
                                const Tensor& o) override {
    later([=, this, slopes = kept(chunk.slopes)] {
      real_.lightning_forward_blocks(with(slopes, chunk), states, o);
    });
  }
  void lightning_backward_blocks(const LightningChunk& chunk, const Tensor& dout, const BlockStates& states,
                                 const BlockStates& dstates, const Tensor& dq, const Tensor& dk,
                                 const Tensor& dv) override {
    later([=, this, slopes = kept(chunk.slopes)] {
      real_.lightning_backward_blocks(with(slopes, chunk), dout, states, dstates, dq, dk, dv);
    });
  }
  void matmul(const Tensor& a, Transpose ta, const Tensor& b, Transpose tb, const Tensor& c, bool accumulate,
              Causal causal, TokenSpan tokens) override {
    later([=, this] { real_.matmul(a, ta, b, tb, c, accumulate, causal, tokens); });
  }
  void decay_scores(const Tensor& scores, std::span<const float> slopes, TokenSpan tokens) override {
    later([=, this, slopes = kept(slopes)] { real_.decay_scores(scores, slopes, tokens); });
  }
  void decay_rows(const Tensor& x, std::span<const float> slopes, Decay decay, const Tensor& y) override {
    later([=, this, slopes = kept(slopes)] { real_.decay_rows(x, slopes, decay, y); });
  }

 protected:
  Device& real_;

 private:
  void later(std::function<void()> operation) { operations_.add(std::move(operation)); }
  static std::vector<float> kept(std::span<const float> slopes) { return {slopes.begin(), slopes.end()}; }
  static LightningChunk with(std::span<const float> slopes, LightningChunk chunk) {
    chunk.slopes = slopes;
    return chunk;
  }

  Lane transfers_, operations_;  // the latter, which wait for the former, end first
};

}  // namespace ringside::test
