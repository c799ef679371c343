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

/// λ^0 .. λ^longest.
class DecayTable {
 public:
  DecayTable(float slope, Index longest) : longest_(longest) {
    for (Index k = longest; k > 0; --k) powers_.push_back(decay_power(slope, k));
    powers_.push_back(1);
    for (Index k = 1; k <= longest; ++k) powers_.push_back(powers_[static_cast<std::size_t>(longest - k)]);
  }

  const float* rows(Decay decay) const { return powers().rows(decay); }
  float everywhere(Decay decay) const { return powers().everywhere(decay); }

 private:
  CentredPowers powers() const { return {powers_.data() + longest_}; }

  Index longest_;
  std::vector<float> powers_;
};

}  // namespace ringside
