// Setting: the place of a run, by which runs compare.
#pragma once

#include <compare>
#include <cstdint>
#include <string>

namespace ringside {

/// Where a run took place. Times compare within one setting; baselines and the history are ordered by it.
struct Setting {
  std::string fingerprint{};  ///< of machine and build
  std::string device{}, communicator{};
  std::int64_t world = 0;  ///< processes under mpirun; 0: threads

  /// The same place on whatever machine: without its fingerprint.
  Setting anywhere() const { return {.device = device, .communicator = communicator, .world = world}; }

  friend auto operator<=>(const Setting&, const Setting&) = default;
};

}  // namespace ringside
