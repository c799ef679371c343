#include "harness/gate/control.h"

#include <algorithm>
#include <atomic>
#include <barrier>
#include <cstddef>
#include <thread>

#include "harness/base/stopwatch.h"

namespace ringside {
namespace {

constexpr std::size_t kMatrix = 192;                   // rows and columns: three matrices of 144 KiB
constexpr std::size_t kCopied = std::size_t{1} << 20;  // floats: 4 MiB, beyond the second cache
constexpr int kExchanges = 2;

std::atomic<float> sink;  // results go somewhere, lest the work be left out

struct Memory {
  std::vector<float> a, b, c;
  std::vector<float> from, to;
};

Memory make_memory() {
  const std::size_t elements = kMatrix * kMatrix;
  return {.a = std::vector<float>(elements, 0.5f),
          .b = std::vector<float>(elements, 0.25f),
          .c = std::vector<float>(elements, 0.0f),
          .from = std::vector<float>(kCopied, 1.0f),
          .to = std::vector<float>(kCopied, 0.0f)};
}

void multiply(Memory& m) {
  std::ranges::fill(m.c, 0.0f);
  for (std::size_t i = 0; i < kMatrix; ++i) {
    for (std::size_t k = 0; k < kMatrix; ++k) {
      const float a = m.a[i * kMatrix + k];
      for (std::size_t j = 0; j < kMatrix; ++j) m.c[i * kMatrix + j] += a * m.b[k * kMatrix + j];
    }
  }
}

/// This thread's share of every thread's memory, in the order of the threads.
void gather(std::vector<Memory>& all, std::size_t thread) {
  const std::size_t share = kCopied / all.size();
  const auto at = [&](std::vector<float>& x, std::size_t n) {
    return x.begin() + static_cast<std::ptrdiff_t>(n * share);
  };
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::size_t other = (thread + i) % all.size();
    std::copy_n(at(all[other].from, thread), share, at(all[thread].to, other));
  }
}

}  // namespace

std::vector<double> run_control(int threads, int repetitions) {
  std::vector<Memory> all;
  for (int i = 0; i < threads; ++i) all.push_back(make_memory());
  std::barrier<> together(threads);
  std::vector<double> seconds;
  const auto work = [&](std::size_t thread) {
    Memory& mine = all[thread];
    for (int i = -1; i < repetitions; ++i) {  // the first warms up
      together.arrive_and_wait();
      Stopwatch watch;
      multiply(mine);
      std::ranges::copy(mine.from, mine.to.begin());
      for (int exchange = 0; exchange < kExchanges; ++exchange) {
        together.arrive_and_wait();
        gather(all, thread);
      }
      together.arrive_and_wait();
      if (thread == 0 && i >= 0) seconds.push_back(watch.lap());
      sink = mine.c[0] + mine.to[0];
    }
  };
  std::vector<std::jthread> others;
  for (int thread = 1; thread < threads; ++thread)
    others.emplace_back(work, static_cast<std::size_t>(thread));
  work(0);
  return seconds;
}

}  // namespace ringside
