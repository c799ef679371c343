// Host half of decay_kernels.h.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/checks.h"
#include "kernels/device.h"
#include "kernels/gpu/decay_kernels.h"

namespace ringside {

/// The powers λ^0 .. λ^(powers - 1) of each head's decay: [slopes, powers] in the machine's memory.
template <typename Launcher>
auto gpu_decay_table(Launcher& launcher, std::span<const float> slopes, Index powers) {
  const auto uploaded = launcher.upload(slopes);
  auto table = launcher.template scratch<float>(std::ssize(slopes) * powers);
  launch_each(launcher, std::ssize(slopes) * powers, DecayPowers{uploaded.data(), table.data(), powers});
  return table;
}

template <typename Launcher>
void gpu_decay_scores(Launcher& launcher, const Tensor& scores, std::span<const float> slopes,
                      TokenSpan tokens) {
  require_scores(scores, slopes);
  const Shape& s = scores.shape();
  const TokenSpan span = clip(tokens, s.tokens);
  const Index count = span.end - span.first;
  if (count == 0) return;
  const auto table = gpu_decay_table(launcher, slopes, count);
  launch_rows(launcher, s.batch * s.heads * count,
              DecayScores{scores.view<float>().data, table.data(), s.heads, s.tokens, span.first, count});
}

template <typename Launcher>
void gpu_decay_rows(Launcher& launcher, const Tensor& x, std::span<const float> slopes, Decay decay,
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

template <typename Launcher>
void gpu_lightning_scan(Launcher& launcher, const Tensor& states, std::span<const float> slopes,
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
