#include "distributed/comm/rank_threads.h"

#include <fmt/format.h>

#include <condition_variable>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "distributed/comm/watchdog.h"

namespace ringside {
namespace {

std::string in_words(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& error) {
    return error.what();
  } catch (...) {
    return "an unknown failure";
  }
}

}  // namespace

void run_rank_threads(int size, Clock::duration patience, const std::function<void(int rank)>& body,
                      const std::function<void(int rank, std::exception_ptr)>& fail) {
  std::mutex mutex;
  std::condition_variable changed;
  std::set<int> running;
  std::string failure;  // the first
  for (int rank = 0; rank < size; ++rank) running.insert(rank);

  const auto end = [&](int rank, const std::exception_ptr& exception) {
    if (exception) fail(rank, exception);
    const std::lock_guard lock(mutex);
    if (exception && failure.empty()) failure = in_words(exception);
    running.erase(rank);
    changed.notify_one();
  };
  std::vector<std::jthread> threads;
  for (int rank = 0; rank < size; ++rank) {
    try {
      threads.emplace_back([&, rank] {
        std::exception_ptr exception;
        try {
          body(rank);
        } catch (...) {
          exception = std::current_exception();
        }
        end(rank, exception);
      });
    } catch (...) {  // no more threads to be had
      end(rank, std::current_exception());
    }
  }

  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return running.empty() || !failure.empty(); });
  if (running.empty()) return;
  Awaiting awaiting("end of the ranks", patience);
  while (!running.empty()) {
    std::vector<std::string> missing{failure};
    for (const int rank : running) missing.push_back(fmt::format("rank {} has not come back", rank));
    awaiting.missing(missing);
    changed.wait(lock);
  }
}

}  // namespace ringside
