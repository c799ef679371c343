// How far a sweep is: a bar on a terminal, a line a case elsewhere.
#pragma once

#include <string>

#include "harness/run_case.h"

namespace ringside {

/// Prints to standard error. Silent unless made `visible`.
class Progress {
 public:
  Progress(bool visible, int cases);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Says what has begun ("oracle", a case's name); on a terminal only.
  void begin(const std::string& what);
  void done(const CaseResult& result, double seconds);
  /// Says, on terminals too, what has come of it.
  void done(const std::string& line);
  /// Takes the bar away so that other text can be printed.
  void clear();

 private:
  double elapsed() const;

  bool visible_, terminal_;
  int cases_, done_ = 0, width_;
  double start_;
};

}  // namespace ringside
