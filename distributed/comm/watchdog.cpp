#include "distributed/comm/watchdog.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <mutex>

namespace ringside {
namespace {

using Text = std::array<char, 1024>;

// A signal handler reads `who` and what `shown` points to, and nothing else. `notes` are written in turn, so
// that what is shown is whole; the mutex is for the watchdog's thread.
Text who{"ringside: "};
std::array<Text, 2> notes;
std::atomic<const char*> shown{nullptr};  // null: nothing is waited for
static_assert(std::atomic<const char*>::is_always_lock_free);
std::mutex mutex;
Clock::time_point begun, deadline = Clock::time_point::max();

template <typename... Args>
void print_to(Text& text, fmt::format_string<Args...> format, Args&&... args) {
  *fmt::format_to_n(text.begin(), text.size() - 1, format, std::forward<Args>(args)...).out = '\0';
}

void say(const char* text) {
  if (::write(STDERR_FILENO, text, std::strlen(text)) < 0) return;  // nobody listens
}

void on_sigterm(int signal) {
  const char* const label = shown.load();
  say(who.data());
  say("ended by SIGTERM, waiting ");
  say(label == nullptr ? "for no other rank" : label);
  say("\n");
  ::raise(signal);  // now with its own effect, once this returns
}

void watch(const std::stop_token& stop) {
  std::condition_variable_any stopped;
  std::unique_lock lock(mutex);
  while (!stop.stop_requested()) {
    if (Clock::now() >= deadline) {
      Text line;
      const auto waited = std::chrono::duration<double>(Clock::now() - begun).count();
      print_to(line, "{}waited {:.1f} s {}; the call does not return", who.data(), waited, shown.load());
      say(line.data());
      say("\n");
      ::_exit(5);
    }
    stopped.wait_for(lock, stop, std::chrono::milliseconds(200), [] { return false; });
  }
}

}  // namespace

Awaiting::Awaiting(std::string_view label, Clock::duration patience) : what_(label) {
  const std::lock_guard lock(mutex);
  begun = Clock::now();
  deadline = begun + patience + Watchdog::kGrace;
  print_to(notes[0], "in '{}'", label);
  shown = notes[0].data();
}

Awaiting::~Awaiting() {
  const std::lock_guard lock(mutex);
  shown = nullptr;
  deadline = Clock::time_point::max();
}

void Awaiting::missing(std::span<const std::string> words) {
  std::string list;
  for (const std::string& one : words) list.append(list.empty() ? "" : "; ").append(one);
  const std::lock_guard lock(mutex);
  Text& next = notes[shown == notes[0].data() ? 1 : 0];
  print_to(next, "in '{}': {}", what_, list);
  shown = next.data();
}

Watchdog::Watchdog() {
  sigset_t all, before;  // signals are for the other threads
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::jthread(watch);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Watchdog::~Watchdog() { tell_no_more(); }

void Watchdog::tell_of(int rank, int size) {
  {
    const std::lock_guard lock(mutex);
    print_to(who, "ringside: rank {} of {}: ", rank, size);
  }
  struct sigaction action {};
  action.sa_handler = on_sigterm;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigaction(SIGTERM, &action, nullptr);
}

void Watchdog::tell_no_more() { std::signal(SIGTERM, SIG_DFL); }

}  // namespace ringside
