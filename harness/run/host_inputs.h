// A rank's inputs in host memory, cached for all variants.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "harness/cases/case.h"
#include "harness/run/placement.h"
#include "harness/tensors/inputs_change.h"

namespace ringside {

/// A rank's inputs in storage dtype; shapes as in Inputs, dout: as o.
struct HostInputs {
  std::vector<std::byte> q, k, v, dout;
};

/// The inputs of the last problem, split and layout that was asked for, of each rank. Ranks may ask from
/// threads of their own, as long as all ask for the same case.
class InputsCache {
 public:
  InputsCache() = default;
  /// All inputs changed as told.
  explicit InputsCache(InputsChange change) : change_(std::move(change)) {}

  const InputsChange& change() const { return change_; }
  /// The inputs of `rank` of the case's world.
  std::shared_ptr<const HostInputs> of(const Case& c, const Placement& placement, int rank);
  /// Gives the memory back.
  void clear();

 private:
  InputsChange change_;
  std::mutex mutex_;
  std::string key_;
  std::map<int, std::shared_ptr<const HostInputs>> by_rank_;
};

}  // namespace ringside
