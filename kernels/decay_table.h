// Powers of one head's decay, by the exponents of decay.h.
#pragma once

#include <cmath>
#include <vector>

#include "kernels/decay.h"

namespace ringside {

/// λ^exponent = exp(-slope·exponent), in double, rounded to fp32 once. exponent >= 0.
inline float decay_power(float slope, Index exponent) {
  return static_cast<float>(std::exp(-static_cast<double>(slope) * static_cast<double>(exponent)));
}

/// λ^0 .. λ^longest in both directions, so that the factors of consecutive rows are consecutive in memory.
class DecayTable {
 public:
  DecayTable(float slope, Index longest) : longest_(longest) {
    for (Index k = 0; k <= longest; ++k) up_.push_back(decay_power(slope, k));
    down_.assign(up_.rbegin(), up_.rend());
  }

  /// Element i is λ^(offset + step·i), as far as 0 <= offset + step·i <= longest; step is 1 or -1.
  const float* rows(Decay decay) const {
    return decay.step > 0 ? up_.data() + decay.offset : down_.data() + (longest_ - decay.offset);
  }
  /// λ^offset, the factor of every row of a state; step is 0.
  float everywhere(Decay decay) const { return up_[static_cast<std::size_t>(decay.offset)]; }

 private:
  Index longest_;
  std::vector<float> up_, down_;
};

}  // namespace ringside
