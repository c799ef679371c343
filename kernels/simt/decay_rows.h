// What GPUs do with powers of λ outside the fused kernels: tables of them, decayed rows and scores, the scan
// of block states. Kernels and their host halves; what each does is said in device.h.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/checks.h"
#include "kernels/device.h"
#include "kernels/simt/rows.h"

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

/// The powers λ^0 .. λ^(powers - 1) of each head's decay: [slopes, powers] in the machine's memory.
template <typename Launcher>
auto simt_decay_table(Launcher& launcher, std::span<const float> slopes, Index powers) {
  const auto uploaded = launcher.upload(slopes);
  auto table = launcher.template scratch<float>(std::ssize(slopes) * powers);
  launch_each(launcher, std::ssize(slopes) * powers, DecayPowers{uploaded.data(), table.data(), powers});
  return table;
}

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

template <typename Launcher>
void simt_decay_scores(Launcher& launcher, const Tensor& scores, std::span<const float> slopes,
                       TokenSpan tokens) {
  require_scores(scores, slopes);
  const Shape& s = scores.shape();
  const TokenSpan span = clip(tokens, s.tokens);
  const Index count = span.end - span.first;
  if (count == 0) return;
  const auto table = simt_decay_table(launcher, slopes, count);
  launch_rows(launcher, s.batch * s.heads * count,
              DecayScores{scores.view<float>().data, table.data(), s.heads, s.tokens, span.first, count});
}

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

template <typename Launcher>
void simt_decay_rows(Launcher& launcher, const Tensor& x, std::span<const float> slopes, Decay decay,
                     const Tensor& y) {
  require_decay_rows(x, slopes, y);
  const Shape& s = y.shape();
  const auto uploaded = launcher.upload(slopes);
  with_type(x.dtype(), [&]<typename T>(T) {
    launch_rows(launcher, s.rows(),
                DecayRows<T>{x.view<T>().data, uploaded.data(), y.view<float>().data, decay, s.heads,
                             s.heads / x.shape().heads, s.tokens, s.dim});
  });
}

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

template <typename Launcher>
void simt_lightning_scan(Launcher& launcher, const Tensor& states, std::span<const float> slopes,
                         const Documents& documents, Index tokens, Index block, Toward toward,
                         const Tensor& total) {
  const TokenBlocks blocks = require_scan(states, slopes, documents, tokens, block, total);
  std::vector<std::uint8_t> crosses;
  for (Index n = 0; n < blocks.count(); ++n) {
    crosses.push_back(documents.across(blocks.span(n)) ? 1 : 0);
  }
  const auto uploaded_slopes = launcher.upload(slopes);
  const auto uploaded_crosses = launcher.upload(std::span<const std::uint8_t>(crosses));
  const TokenSpan last = blocks.span(blocks.count() - 1);
  const Shape& s = total.shape();
  launch_each(launcher, s.size(),
              LightningScan{states.view<float>().data, total.view<float>().data, uploaded_slopes.data(),
                            uploaded_crosses.data(), s.heads, s.head_size(), blocks.count(), block,
                            last.end - last.first, toward});
}

}  // namespace ringside
