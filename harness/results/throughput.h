// Useful work and throughput.
#pragma once

#include <algorithm>
#include <string_view>

#include "harness/judge/run_case.h"

namespace ringside {

/// Floating-point operations that a problem needs, matrix products only, an FMA being two; with the formula's
/// name. softmax: forward 2bh·pairs·(d+e), backward 2bh·pairs·(3d+2e), pairs of a query and a key that it
/// sees. lightning, in blocks of B = 64, T = b·h·n: forward T(B(d+e) + 4de), backward T(B(3d+2e) + 8de).
struct Work {
  double forward = 0;
  double backward = 0;
  std::string_view formula;
};

/// Pairs of a query and a key that it sees, of one head: n(n+1)/2 of a document of n tokens if causal, n² if
/// not; with a window w < n, w(w+1)/2 + (n-w)w.
inline double visible_pairs(const Problem& p) {
  const auto of_document = [&](Index tokens) {
    const auto n = static_cast<double>(tokens);
    if (!p.causal) return n * n;
    const auto w = static_cast<double>(p.window > 0 ? std::min(p.window, tokens) : tokens);
    return w * (w + 1) / 2 + (n - w) * w;
  };
  if (p.cu_seqlens.empty()) return of_document(p.seq);
  double pairs = 0;
  for (std::size_t i = 0; i + 1 < p.cu_seqlens.size(); ++i) {
    pairs += of_document(p.cu_seqlens[i + 1] - p.cu_seqlens[i]);
  }
  return pairs;
}

inline Work useful_work(const Problem& p) {
  const auto d = static_cast<double>(p.head_dim), e = static_cast<double>(p.value_dim);
  const auto n = static_cast<double>(p.seq), bh = static_cast<double>(p.batch * p.heads);
  if (p.op == Operator::lightning) {
    constexpr double kBlock = 64;
    return {bh * n * (kBlock * (d + e) + 4 * d * e), bh * n * (kBlock * (3 * d + 2 * e) + 8 * d * e),
            "lightning_useful_b64"};
  }
  const double pairs = visible_pairs(p);
  return {2 * bh * pairs * (d + e), 2 * bh * pairs * (3 * d + 2 * e),
          p.causal ? "softmax_useful_causal" : "softmax_useful_full"};
}

/// Of the whole world, from the median iteration; tokens are batch · seq, once whatever the number of heads.
struct Throughput {
  double tokens_forward = 0, tokens_forward_backward = 0;  ///< tokens/s
  double tflops_forward = 0, tflops_forward_backward = 0;  ///< useful TFLOP/s
};

inline Throughput throughput(const CaseResult& r) {
  if (r.repeat == 0) return {};
  const Work work = useful_work(r.c.problem());
  const auto tokens = static_cast<double>(r.c.batch * r.c.seq);
  return {tokens / r.forward.median_s, tokens / r.forward_backward.median_s,
          work.forward / r.forward.median_s / 1e12,
          (work.forward + work.backward) / r.forward_backward.median_s / 1e12};
}

}  // namespace ringside
