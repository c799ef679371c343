// Watchdog: ends a process that waits too long, and names the wait. Told when a signal ends it, and its end
// if a call never returns.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <thread>

#include "distributed/comm/deadline.h"

namespace ringside {

/// From construction to destruction this process waits for others in `label`, which must live as long; one
/// such wait at a time. A Watchdog ends the process if it lasts longer than `patience` and kGrace: for calls
/// that know no deadline of their own, and for loops that a call inside never comes back to.
class Awaiting {
 public:
  Awaiting(std::string_view label, Clock::duration patience);
  ~Awaiting();
  Awaiting(const Awaiting&) = delete;
  Awaiting& operator=(const Awaiting&) = delete;

  /// What has not come yet, in words.
  void missing(std::span<const std::string> words);

 private:
  std::string_view what_;
};

/// Watches over this process's waits, one watchdog a process. Past its time it prints one line and ends the
/// process with status 5, at once: no destructor runs.
class Watchdog {
 public:
  static constexpr auto kGrace = std::chrono::seconds(2);  ///< those that can tell of themselves are first

  Watchdog();
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  /// From now on lines name the rank, and SIGTERM, with which mpirun ends the ranks that survive another,
  /// prints what this one waits for before it ends the process as it would have.
  void tell_of(int rank, int size);
  /// No more of that: this rank is ready to go.
  static void tell_no_more();

 private:
  std::jthread thread_;
};

}  // namespace ringside
