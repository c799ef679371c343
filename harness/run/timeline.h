// Timeline: spans of a rank in one timed iteration.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "harness/base/enum_array.h"

namespace ringside {

class Device;

/// From begin to end of something that a rank did, in nanoseconds of a steady clock since the iteration
/// began. Plain data without padding, so that it can travel between processes.
struct Step {
  enum class Kind : std::int32_t {
    pass,     ///< forward or backward, with all that is in it
    compute,  ///< one operation of the device
    message,  ///< one operation of a communicator, from its start to the end of its wait
    wait      ///< the part of a message that the rank spent in Request::wait(): exposed, hidden by no work
  };
  Kind kind = Kind::pass;
  std::int32_t name_size = 0;
  std::int64_t name_at = 0;  ///< in Timeline::names
  std::int64_t begin_ns = 0, end_ns = 0;
  std::int64_t bytes = 0;  ///< that a message sends
};

/// One iteration of one rank. Steps are in the order of their ends.
struct Timeline {
  std::vector<Step> steps{};
  std::string names{};  ///< of all steps, one after the other

  std::string_view name(const Step& step) const {
    return std::string_view(names).substr(static_cast<std::size_t>(step.name_at),
                                          static_cast<std::size_t>(step.name_size));
  }
};

/// Where an iteration of one rank went. compute + wait + other is the iteration.
enum class Share {
  wait,     ///< waiting for messages
  compute,  ///< in operations of the device
  /// With a message under way and not waiting for any: at most so much of communication was hidden. Less, if
  /// a message arrived before it was waited for, or moves only while it is waited for (as between threads): a
  /// rank does not see when a message moves.
  hidden,
  other,  ///< the rest
  end
};
using Shares = EnumArray<Share, double>;  ///< seconds

Shares shares(const Timeline& timeline);

/// Count and seconds of the steps of one name.
struct Total {
  std::string_view name;  ///< in the timeline
  std::int64_t count = 0;
  double seconds = 0;
};
/// Of a device's operations, by name.
std::vector<Total> compute_totals(const Timeline& timeline);

/// Writes a timeline while it happens, in the thread of its rank. A step costs two readings of the clock, and
/// no memory but what the longest iteration so far has left reserved.
class Recorder {
 public:
  using Kind = Step::Kind;
  /// A step's name, kept.
  struct Name {
    std::int64_t at = 0;
    std::int32_t size = 0;
  };

  /// `later`, if any, is a device that may do what it is asked for after the call: every step is then over
  /// when that device has done it, for which the host waits. It must outlive the recorder.
  explicit Recorder(Device* later = nullptr);

  /// An iteration begins: the clock starts at 0, and what was recorded is forgotten.
  void restart();
  std::int64_t now() const {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - origin_).count();
  }
  /// The same, once the device has done what it was asked for.
  std::int64_t settled() const;
  Name keep(std::string_view name);
  void add(Kind kind, Name name, std::int64_t begin_ns, std::int64_t end_ns, std::int64_t bytes = 0);

  /// Runs `work` as a step; a step that throws is none. Returns its seconds.
  template <typename Work>
  double record(Kind kind, std::string_view name, const Work& work) {
    const std::int64_t begin_ns = now();
    work();
    const std::int64_t end_ns = settled();
    add(kind, keep(name), begin_ns, end_ns);
    return 1e-9 * static_cast<double>(end_ns - begin_ns);
  }

  const Timeline& timeline() const { return timeline_; }

 private:
  using Clock = std::chrono::steady_clock;

  Device* later_;
  Timeline timeline_;
  Clock::time_point origin_ = Clock::now();
};

}  // namespace ringside
