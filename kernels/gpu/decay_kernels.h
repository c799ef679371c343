// GPU kernels on powers of λ, outside fused lightning attention.
// Tables of them, decayed rows and scores, the scan of block states.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/decay.h"
#include "kernels/gpu/rows.h"
#include "reference/storage.h"

namespace ringside {

/// decay_power() of decay_table.h for kernels: nvcc compiles a function that is not constexpr, as std::exp is
/// not, for the host or for the GPU.
RINGSIDE_DEVICE float power_of_decay(float slope, Index exponent) {
  return static_cast<float>(std::exp(-static_cast<double>(slope) * static_cast<double>(exponent)));
}

/// table: [heads, powers] <- λ^0 .. λ^(powers - 1) of each head.
struct DecayPowers {
  const float* slopes;
  float* table;
  Index powers;

  RINGSIDE_DEVICE void operator()(Index i) const {
    table[i] = power_of_decay(slopes[i / powers], i % powers);
  }
};

struct DecayScores {
  float* scores;
  const float* table;  ///< [heads, span]
  Index heads, tokens;
  Index first, span;  ///< tokens that take part

  template <typename Machine>
  RINGSIDE_DEVICE void operator()(Machine, Index row, int lane) const {
    const Index head = row / span, i = row % span;
    float* const decayed = scores + (head * tokens + first + i) * tokens + first;
    const float* const powers = table + head % heads * span;
    const Decay decay = decay_to_end(i);  // from key j to query i
    for (Index j = lane; j <= i; j += kLanes) decayed[j] *= powers[decay.offset + decay.step * j];
  }
};

template <typename T>
struct DecayRows {
  const T* x;
  const float* slopes;
  float* y;
  Decay decay;
  Index heads, group;  ///< y's heads; those of them that share one of x
  Index tokens, dim;

  template <typename Machine>
  RINGSIDE_DEVICE void operator()(Machine, Index row, int lane) const {
    const Index head = row / tokens, i = row % tokens;
    const float factor = power_of_decay(slopes[head % heads], decay.offset + decay.step * i);
    const T* const in = x + (head / group * tokens + i) * dim;
    for (Index j = lane; j < dim; j += kLanes) y[row * dim + j] = factor * to_float(in[j]);
  }
};

/// Element i of the states of one head, through all blocks.
struct LightningScan {
  float *states, *total;
  const float* slopes;
  const std::uint8_t* crosses;  ///< of each block: whether a state that enters it leaves it
  Index heads, head_size;
  Index blocks, block, last;  ///< their number, the tokens of each and of the last
  Toward toward;

  RINGSIDE_DEVICE void operator()(Index i) const {
    const Index head = i / head_size, at = i % head_size;
    const float slope = slopes[head % heads];
    const float across = power_of_decay(slope, decay_across(block).offset);
    const float across_last = power_of_decay(slope, decay_across(last).offset);
    float sum = 0;
    for (Index step = 0; step < blocks; ++step) {
      const Index n = toward == Toward::end ? step : blocks - 1 - step;
      float& state = states[(head * blocks + n) * head_size + at];
      const float own = state;
      state = sum;
      sum = crosses[n] != 0 ? (n == blocks - 1 ? across_last : across) * sum + own : own;
    }
    total[i] = sum;
  }
};

}  // namespace ringside
