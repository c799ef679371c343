// Compares times and shares of bounds of single runs. Something to look at, nothing to judge by.
#pragma once

#include <string>
#include <vector>

#include "harness/results/record.h"

namespace ringside {

class SingleRun {
 public:
  /// A case that ran, in the baseline and now.
  void add(const Record& base, const Record& head);
  /// The largest rises of a share, the median throughput, the cases that are furthest below the slowest
  /// iteration that the baseline saw, and what was not compared and why.
  void add_notes(std::vector<std::string>& notes) const;

 private:
  struct Rise {
    double by, before, now;
    std::string figure, name;
  };
  struct Speed {
    double ratio;      ///< throughput now / then
    double low, high;  ///< of the iterations then, as ratios to their median
    std::string name;
  };
  std::vector<Rise> rises_;
  std::vector<Speed> speeds_;
  int elsewhere_ = 0, oversubscribed_ = 0;
};

}  // namespace ringside
