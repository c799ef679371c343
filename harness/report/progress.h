// Shows how far a run of many cases is.
#pragma once

#include <string>

namespace ringside {

/// The bar is where notes() go, if that is a terminal. Silent unless made `visible`.
class Progress {
 public:
  Progress(bool visible, int cases);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Says in the bar what has begun ("reference", a case's name).
  void begin(const std::string& what);
  /// A case has ended; says where notes() go what has come of it.
  void done(const std::string& line);
  /// A case has ended; prints to standard output, at once, what has come of it. Throws InfrastructureError if
  /// that fails.
  void row(const std::string& text);
  /// Takes the bar away so that other text can be printed.
  void clear();

 private:
  double elapsed() const;

  bool visible_;
  int cases_, done_ = 0;
  double start_;
};

}  // namespace ringside
