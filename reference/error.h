// The errors that end a run, each with its exit status.
#pragma once

#include <stdexcept>
#include <string>

namespace ringside {

/// Bad input or usage: exit status 2. The message names file, line and column where there is one.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Something outside the mathematics failed (a deadline, a dead rank, a full disk): exit status 5.
class InfrastructureError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace ringside
