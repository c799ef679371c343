#include "kernels/emulated/machine.h"

#include <algorithm>
#include <bit>
#include <boost/context/fiber.hpp>
#include <boost/context/pooled_fixedsize_stack.hpp>
#include <cstring>
#include <deque>
#include <exception>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "kernels/emulated/stack_switch.h"
#include "reference/dtype.h"

namespace ringside {
namespace {

constexpr int kWarp = 32;
constexpr std::size_t kCopyBytes = 16, kGuard = 128, kStack = 256 << 10;
constexpr std::byte kPoison{0xff};  // NaN in every storage type

/// What the threads of a warp, or of a block, do together.
enum class Together { nothing, sync_warp, shuffle, bf16, tf32, load, load_transposed, sync, end };

struct Copy {
  std::byte* to = nullptr;
  const std::byte* from = nullptr;  ///< null: zeros
};

struct Thread {
  boost::context::fiber fiber{};      ///< where it goes on
  boost::context::fiber scheduler{};  ///< to which it gives way
  StackBounds stack{};
  bool started = false;
  Together waits_in = Together::nothing;
  void* operands = nullptr;  ///< of what it waits in
  std::vector<Copy> open{};  ///< copies of the group that is not committed
  std::deque<std::vector<Copy>> committed{};
};

/// What each thread of a warp brings to a product.
struct Fragments {
  float (&c)[4];
  const std::uint32_t (&a)[4];
  const std::uint32_t (&b)[2];
};
struct Matrices {
  std::uint32_t (&r)[4];
  const std::byte* row;
};
struct Shuffle {
  float x;
  int mask;
  float result;
};

[[noreturn]] void fault(const std::string& what) { throw std::logic_error("emulated GPU: " + what); }

/// Element i of those that a register holds.
float bf16_of(std::uint32_t pair, int i) {
  return to_float(BFloat16{static_cast<std::uint16_t>(pair >> (16 * i))});
}

float tf32_of(std::uint32_t bits, int) { return truncated_to_tf32(std::bit_cast<float>(bits)); }

/// Stacks for fibers, and the bounds of the last one that was taken.
class Stacks {
 public:
  boost::context::stack_context allocate() {
    const boost::context::stack_context stack = pool_.allocate();
    last_ = {static_cast<std::byte*>(stack.sp) - stack.size, stack.size};
    return stack;
  }
  void deallocate(boost::context::stack_context& stack) { pool_.deallocate(stack); }
  StackBounds last() const { return last_; }

 private:
  boost::context::pooled_fixedsize_stack pool_{kStack};
  StackBounds last_{};
};

class Block {
 public:
  Block(const Grid& grid, Index number, const std::function<void()>& body, Stacks& stacks, std::byte* shared)
      : grid_(grid), number_(number), shared_(shared), threads_(static_cast<std::size_t>(grid.threads)) {
    std::fill_n(shared_, grid.shared_bytes, kPoison);
    std::fill_n(shared_ + grid.shared_bytes, kGuard, std::byte{0xa5});
    for (Thread& t : threads_) {
      t.fiber = boost::context::fiber(
          std::allocator_arg, stacks, [this, &t, &body](boost::context::fiber&& scheduler) {
            scheduler_stack_ = enter_stack();
            const Leave leave{scheduler_stack_};
            t.scheduler = std::move(scheduler);
            try {
              body();
            } catch (
                const std::exception&) {  // nothing else: an unfinished fiber is unwound by an exception too
              failure_ = std::current_exception();
            }
            t.waits_in = Together::end;
            return std::move(t.scheduler);
          });
      t.stack = stacks.last();
    }
  }
  /// Unwinds what is unfinished.
  ~Block() {
    for (Thread& t : threads_) {
      if (!t.fiber) continue;
      {
        const AwayFromStack away(t.stack);
        t.fiber = {};
      }
      if (t.started) continue;  // else its stack was entered and left outside of what we wrote
      leave_stack(scheduler_stack_);
      enter_stack();
    }
  }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  void run();

  int thread() const { return running_; }
  Index number() const { return number_; }
  const Grid& grid() const { return grid_; }
  std::byte* shared() const { return shared_; }
  Thread& self() { return threads_[static_cast<std::size_t>(running_)]; }

  /// The running thread gives way until all of its warp, or of the block, are here.
  void meet(Together what, void* operands) {
    Thread& t = self();
    t.waits_in = what;
    t.operands = operands;
    const AwayFromStack away(scheduler_stack_);
    t.scheduler = std::move(t.scheduler).resume();
  }

 private:
  /// The last thing that happens on a fiber's stack.
  struct Leave {
    const StackBounds& to;
    ~Leave() { leave_stack(to); }
  };

  /// Knuth's MMIX generator; its upper bits.
  std::uint64_t next_random() {
    random_ = random_ * 6364136223846793005u + 1442695040888963407u;
    return random_ >> 33;
  }
  /// Until all its threads wait for the block, or have ended.
  void run_warp(int warp);
  void resume(int thread) {
    running_ = thread;
    Thread& t = threads_[static_cast<std::size_t>(thread)];
    t.waits_in = Together::nothing;
    t.started = true;
    {
      const AwayFromStack away(t.stack);
      t.fiber = std::move(t.fiber).resume();
    }
    if (failure_) std::rethrow_exception(failure_);
  }
  void do_together(int warp, Together what);
  template <typename T>
  T& operands(int warp, int lane) {
    return *static_cast<T*>(threads_[static_cast<std::size_t>(warp * kWarp + lane)].operands);
  }
  template <int kDepth, typename Element>
  void multiply(int warp, Element element);
  void load(int warp, bool transposed);

  const Grid& grid_;
  Index number_;
  std::byte* shared_;
  std::vector<Thread> threads_;
  std::uint64_t random_ = grid_.seed + 0x9e3779b97f4a7c15u * static_cast<std::uint64_t>(number_ + 1);
  int running_ = 0;
  StackBounds scheduler_stack_{};
  std::exception_ptr failure_{};  ///< of the thread that just ran
};

thread_local Block* running = nullptr;

void Block::run() {
  const int warps = grid_.threads / kWarp;
  std::vector<int> order(static_cast<std::size_t>(warps));
  std::iota(order.begin(), order.end(), 0);
  for (;;) {
    for (std::size_t i = order.size(); i > 1; --i) {
      std::swap(order[i - 1], order[next_random() % i]);
    }
    for (const int warp : order) run_warp(warp);
    const auto ended = std::ranges::count(threads_, Together::end, &Thread::waits_in);
    if (ended == std::ssize(threads_)) break;
    if (ended > 0) fault(std::to_string(ended) + " threads of a block ended, the others are in sync()");
  }
  if (std::any_of(shared_ + grid_.shared_bytes, shared_ + grid_.shared_bytes + kGuard,
                  [](std::byte b) { return b != std::byte{0xa5}; })) {
    fault("a write behind the " + std::to_string(grid_.shared_bytes) + " bytes of shared memory");
  }
  for (const Thread& t : threads_) {
    if (!t.open.empty() || !t.committed.empty()) fault("copies were never waited for");
  }
}

void Block::run_warp(int warp) {
  for (;;) {
    const int order = static_cast<int>(next_random() % kWarp);
    for (int lane = 0; lane < kWarp; ++lane) resume(warp * kWarp + (lane ^ order));
    const Together what = threads_[static_cast<std::size_t>(warp * kWarp)].waits_in;
    for (int lane = 1; lane < kWarp; ++lane) {
      if (threads_[static_cast<std::size_t>(warp * kWarp + lane)].waits_in != what)
        fault("threads of a warp are in different collective operations");
    }
    if (what == Together::sync || what == Together::end) return;
    do_together(warp, what);
  }
}

void Block::do_together(int warp, Together what) {
  switch (what) {
    case Together::shuffle:
      for (int lane = 0; lane < kWarp; ++lane) {
        auto& mine = operands<Shuffle>(warp, lane);
        mine.result = operands<Shuffle>(warp, lane ^ mine.mask).x;
      }
      return;
    case Together::bf16:
      return multiply<16>(warp, bf16_of);
    case Together::tf32:
      return multiply<8>(warp, tf32_of);
    case Together::load:
    case Together::load_transposed:
      return load(warp, what == Together::load_transposed);
    default:
      return;
  }
}

// Where the PTX manual (mma.m16n8k16 and .m16n8k8, "Fragments") has the elements, lane = 4 g + t:
//   c: [16, 8]   c0, c1 (g, 2t..2t+1), c2, c3 (g + 8, 2t..2t+1)
//   16 bits, a: [16, 16]   a0 (g, 2t..2t+1), a1 (g + 8, same), a2 (g, 2t + 8..), a3 (g + 8, 2t + 8..)
//            b: [16, 8]    b0 (2t..2t+1, g), b1 (2t + 8.., g)
//   tf32,    a: [16, 8]    a0 (g, t), a1 (g + 8, t), a2 (g, t + 4), a3 (g + 8, t + 4)
//            b: [8, 8]     b0 (t, g), b1 (t + 4, g)
template <int kDepth, typename Element>
void Block::multiply(int warp, Element element) {
  constexpr int kHalf = kDepth / 2, kOfLane = kHalf / 4;  // consecutive k in one register
  float a[16][kDepth], b[kDepth][8];
  for (int lane = 0; lane < kWarp; ++lane) {
    const auto& f = operands<Fragments>(warp, lane);
    const int g = lane / 4, t = lane % 4;
    for (int half = 0; half < 2; ++half) {
      for (int i = 0; i < kOfLane; ++i) {
        const int k = half * kHalf + t * kOfLane + i;
        a[g][k] = element(f.a[2 * half], i);
        a[g + 8][k] = element(f.a[2 * half + 1], i);
        b[k][g] = element(f.b[half], i);
      }
    }
  }
  for (int lane = 0; lane < kWarp; ++lane) {
    const auto& f = operands<Fragments>(warp, lane);
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + 8 * (i / 2), col = 2 * (lane % 4) + i % 2;
      float sum = f.c[i];
      for (int k = 0; k < kDepth; ++k) sum += a[row][k] * b[k][col];
      f.c[i] = sum;
    }
  }
}

void Block::load(int warp, bool transposed) {
  std::uint16_t all[4][8][8];
  for (int lane = 0; lane < kWarp; ++lane) {
    const std::byte* row = operands<Matrices>(warp, lane).row;
    if (reinterpret_cast<std::uintptr_t>(row) % kCopyBytes != 0) fault("a misaligned row of a matrix");
    if (row < shared_ || row + kCopyBytes > shared_ + grid_.shared_bytes)
      fault("a row of a matrix outside shared memory");
    std::memcpy(all[lane / 8][lane % 8], row, kCopyBytes);
  }
  for (int lane = 0; lane < kWarp; ++lane) {
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; ++i) {
      const std::uint32_t low = transposed ? all[i][2 * t][g] : all[i][g][2 * t];
      const std::uint32_t high = transposed ? all[i][2 * t + 1][g] : all[i][g][2 * t + 1];
      operands<Matrices>(warp, lane).r[i] = low | high << 16;
    }
  }
}

void copy_group(const std::vector<Copy>& group) {
  for (const Copy& copy : group) {
    if (copy.from) {
      std::memcpy(copy.to, copy.from, kCopyBytes);
    } else {
      std::memset(copy.to, 0, kCopyBytes);
    }
  }
}

}  // namespace

int Emulated::thread() { return running->thread(); }
Index Emulated::block() { return running->number(); }
Index Emulated::blocks() { return running->grid().blocks; }
std::byte* Emulated::shared() { return running->shared(); }

void Emulated::sync() { running->meet(Together::sync, nullptr); }
void Emulated::sync_warp() { running->meet(Together::sync_warp, nullptr); }

float Emulated::shuffle_xor(float x, int mask) {
  Shuffle shuffle{x, mask, 0};
  running->meet(Together::shuffle, &shuffle);
  return shuffle.result;
}

void Emulated::copy_async(void* to, const void* from, bool valid) {
  const auto misaligned = [](const void* p) { return reinterpret_cast<std::uintptr_t>(p) % kCopyBytes != 0; };
  if (misaligned(to) || misaligned(from)) fault("a misaligned copy");
  std::fill_n(static_cast<std::byte*>(to), kCopyBytes, kPoison);
  running->self().open.push_back(
      {static_cast<std::byte*>(to), valid ? static_cast<const std::byte*>(from) : nullptr});
}

void Emulated::commit() {
  Thread& self = running->self();
  self.committed.push_back(std::exchange(self.open, {}));
}

void Emulated::wait_copies(int groups) {
  auto& committed = running->self().committed;
  for (; std::ssize(committed) > groups; committed.pop_front()) copy_group(committed.front());
}

void Emulated::multiply(float (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], Bf16) {
  Fragments fragments{c, a, b};
  running->meet(Together::bf16, &fragments);
}

void Emulated::multiply(float (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], Tf32) {
  Fragments fragments{c, a, b};
  running->meet(Together::tf32, &fragments);
}

void Emulated::load_matrices(std::uint32_t (&r)[4], const void* row) {
  Matrices matrices{r, static_cast<const std::byte*>(row)};
  running->meet(Together::load, &matrices);
}

void Emulated::load_matrices_transposed(std::uint32_t (&r)[4], const void* row) {
  Matrices matrices{r, static_cast<const std::byte*>(row)};
  running->meet(Together::load_transposed, &matrices);
}

void run_grid(const Grid& grid, const std::function<void()>& body) {
  if (grid.threads < kWarp || grid.threads % kWarp != 0 || grid.threads > 1024)
    fault("a block of " + std::to_string(grid.threads) + " threads");
  Stacks stacks;
  std::vector<std::byte> memory(grid.shared_bytes + 2 * kGuard);
  const auto address = reinterpret_cast<std::uintptr_t>(memory.data());
  std::byte* const shared = memory.data() + (kGuard - address % kGuard) % kGuard;
  for (Index number = 0; number < grid.blocks; ++number) {
    Block block(grid, number, body, stacks, shared);
    Block* const outer = std::exchange(running, &block);
    try {
      block.run();
    } catch (...) {
      running = outer;
      throw;
    }
    running = outer;
  }
}

}  // namespace ringside
