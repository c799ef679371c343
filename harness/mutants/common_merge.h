// The usual merge of partial results, right but less exact. No bug.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "harness/mutants/rewrite.h"
#include "harness/run/device_decorator.h"

namespace ringside {

/// o <- o - σ·(o - block_o), lse <- lse - log σ', with σ = 1/(1 + exp(lse - block_lse)) and σ' = 1 - σ: where
/// σ is near 1 an o, and an lse, that should vanish leave a trace of their rounding.
class CommonMerge final : public DeviceDecorator {
 public:
  using DeviceDecorator::DeviceDecorator;

  void softmax_merge(const Tensor& block_o, const Tensor& block_lse, const Tensor& o,
                     const Tensor& lse) override {
    const Tensor from_o = on_host(block_o), from_lse = on_host(block_lse);
    edit(o, [&](const Tensor& to_o) {
      edit(lse, [&](const Tensor& to_lse) {
        const auto from = from_o.view<float>().all(), from_l = from_lse.view<float>().all();
        const auto to = to_o.view<float>().all(), to_l = to_lse.view<float>().all();
        const auto dims = static_cast<std::size_t>(o.shape().dim);
        for (std::size_t row = 0; row < to_l.size(); ++row) {
          if (from_l[row] == kNothing) continue;
          const float sigma = to_l[row] == kNothing ? 1 : 1 / (1 + std::exp(to_l[row] - from_l[row]));
          for (std::size_t i = row * dims; i < (row + 1) * dims; ++i) to[i] -= sigma * (to[i] - from[i]);
          if (to_l[row] == kNothing) {
            to_l[row] = from_l[row];
            continue;
          }
          const float x = to_l[row] - from_l[row];
          to_l[row] -= std::min(x, 0.0F) - std::log1p(std::exp(-std::abs(x)));  // log 1/(1 + exp(-x))
        }
      });
    });
  }

 private:
  static constexpr float kNothing = -std::numeric_limits<float>::infinity();  ///< lse of a row without keys
};

}  // namespace ringside
