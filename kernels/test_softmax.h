// Softmax attention by double loops, for tests.
#pragma once

#include <limits>

#include "kernels/test_support.h"

namespace ringside {

/// A block of softmax attention.
struct SoftmaxCase {
  const char* name;
  Index batch, heads, kv_heads, head_dim, value_dim;
  Positions q_positions, k_positions;
  bool causal;
  float scale = 0.4f;
  float deviation = 1;  ///< of q and k
  Index window = 0;
  std::vector<Index> cu_seqlens = {};

  Mask mask() const { return {causal, window, cu_seqlens}; }
  /// By the definition in problem.h, one document after the other.
  bool sees(Index query, Index key) const {
    if (causal && (key > query || (window > 0 && key <= query - window))) return false;
    if (cu_seqlens.empty()) return true;
    for (std::size_t i = 0; i + 1 < cu_seqlens.size(); ++i) {
      const auto holds = [&](Index token) { return cu_seqlens[i] <= token && token < cu_seqlens[i + 1]; };
      if (holds(query) && holds(key)) return true;
    }
    return false;
  }
};

inline std::vector<Index> all_positions(const Positions& positions) {
  std::vector<Index> result;
  for (const Run& run : positions) {
    for (Index i = 0; i < run.count; ++i) result.push_back(run.position(i));
  }
  return result;
}

/// A case's inputs and, by double loops, its results. Magnitudes are in units of 2^-24 (see expect_close).
struct Attention {
  Attention(const SoftmaxCase& c, DType dtype)
      : q(random_array({c.batch, c.heads, count(c.q_positions), c.head_dim}, dtype, 1, c.deviation)),
        k(random_array({c.batch, c.kv_heads, count(c.k_positions), c.head_dim}, dtype, 2, c.deviation)),
        v(random_array({c.batch, c.kv_heads, count(c.k_positions), c.value_dim}, dtype, 3)),
        dout(random_array({c.batch, c.heads, count(c.q_positions), c.value_dim}, dtype, 4)) {
    for (Index b = 0; b < c.batch; ++b) {
      for (Index h = 0; h < c.heads; ++h) compute(c, b, h);
    }
  }

  Array q, k, v, dout;
  Reference o{dout.shape}, lse{row_shape()};
  Reference dq{q.shape}, dk{k.shape}, dv{v.shape};

 private:
  Shape row_shape() const { return {q.shape.batch, q.shape.heads, q.shape.tokens, 1}; }

  void compute(const SoftmaxCase& c, Index b, Index h) {
    constexpr double kUnseen = std::numeric_limits<double>::infinity();
    const Index kv = h / (c.heads / c.kv_heads), d = c.head_dim, e = c.value_dim;
    const auto q_at = all_positions(c.q_positions), k_at = all_positions(c.k_positions);
    const Index nq = std::ssize(q_at), nk = std::ssize(k_at);
    const auto root = [](Index n) { return std::sqrt(static_cast<double>(n)); };
    const auto scale = static_cast<double>(c.scale);
    for (Index i = 0; i < nq; ++i) {
      const auto sees = [&](Index j) {
        return c.sees(q_at[static_cast<std::size_t>(i)], k_at[static_cast<std::size_t>(j)]);
      };
      std::vector<double> logits(k_at.size(), -kUnseen);
      double max = -kUnseen, largest = 0;
      for (Index j = 0; j < nk; ++j) {
        if (!sees(j)) continue;
        double s = 0, terms = 0;
        for (Index x = 0; x < d; ++x) {
          s += scale * q.at(b, h, i, x) * k.at(b, kv, j, x);
          terms += std::fabs(scale * q.at(b, h, i, x) * k.at(b, kv, j, x));
        }
        logits[static_cast<std::size_t>(j)] = s;
        max = std::max(max, s);
        largest = std::max(largest, terms);
      }
      double sum = 0;
      for (const double s : logits) sum += max == -kUnseen ? 0 : std::exp(s - max);
      const double log_sum = sum == 0 ? -kUnseen : max + std::log(sum);
      // Of a logit: its product and the scaling; then subtractions against a maximum or lse of that size.
      const double logit_error = (root(d) + 2) * largest;
      const double lse_size = sum == 0 ? 0 : std::fabs(log_sum);
      lse.add(b, h, i, 0, log_sum, logit_error + lse_size + root(nk) + 4);
      if (sum == 0) continue;
      // Of a probability, relative: twice a logit's (its own and the sum's), lse's rounding, exp.
      const double p_error = 2 * logit_error + 2 * lse_size + 4;

      std::vector<double> p(k_at.size());
      for (Index j = 0; j < nk; ++j) {
        const auto at = static_cast<std::size_t>(j);
        p[at] = std::exp(logits[at] - log_sum);
        for (Index x = 0; x < e; ++x) {
          const double term = p[at] * v.at(b, kv, j, x);
          o.add(b, h, i, x, term, std::fabs(term) * (p_error + 2 * root(nk) + 4));
        }
      }
      double row_delta = 0, delta_terms = 0;
      for (Index x = 0; x < e; ++x) {
        row_delta += o.value.at(b, h, i, x) * dout.at(b, h, i, x);
        delta_terms += std::fabs(o.value.at(b, h, i, x) * dout.at(b, h, i, x));
      }
      for (Index j = 0; j < nk; ++j) {
        if (!sees(j)) continue;
        const double pij = p[static_cast<std::size_t>(j)];
        double dp = 0, dp_terms = 0;
        for (Index x = 0; x < e; ++x) {
          dp += dout.at(b, h, i, x) * v.at(b, kv, j, x);
          dp_terms += std::fabs(dout.at(b, h, i, x) * v.at(b, kv, j, x));
          const double term = pij * dout.at(b, h, i, x);
          dv.add(b, kv, j, x, term, std::fabs(term) * (p_error + root(nq) + 2));
        }
        const double ds = scale * pij * (dp - row_delta);
        const double ds_error = std::fabs(scale) * pij *
                                ((p_error + 4) * (std::fabs(dp) + std::fabs(row_delta)) +
                                 (root(e) + 2) * (dp_terms + delta_terms));
        for (Index x = 0; x < d; ++x) {
          const double kx = k.at(b, kv, j, x), qx = q.at(b, h, i, x);
          dq.add(b, h, i, x, ds * kx, std::fabs(kx) * (ds_error + std::fabs(ds) * (root(nk) + 2)));
          dk.add(b, kv, j, x, ds * qx, std::fabs(qx) * (ds_error + std::fabs(ds) * (root(nq) + 2)));
        }
      }
    }
  }
};

/// What the device made of a case.
struct SoftmaxResults {
  Tensor o, lse, delta, dq, dk, dv;
};

inline SoftmaxResults compute(Device& device, const SoftmaxCase& c, const Attention& a, DType dtype) {
  const SoftmaxBlock block{.q = to_device(device, a.q, dtype),
                           .k = to_device(device, a.k, dtype),
                           .v = to_device(device, a.v, dtype),
                           .q_positions = c.q_positions,
                           .k_positions = c.k_positions,
                           .mask = c.mask(),
                           .scale = c.scale};
  const auto make = [&](const Shape& shape) { return device.allocate(shape, DType::fp32); };
  SoftmaxResults r{make(a.dout.shape), make(a.lse.value.shape), make(a.lse.value.shape),
                   make(a.q.shape),    make(a.k.shape),         make(a.v.shape)};
  const Tensor dout = to_device(device, a.dout, dtype);
  device.softmax_forward(block, r.o, r.lse);
  device.softmax_delta(r.o, dout, r.delta);
  for (const Tensor* gradient : {&r.dq, &r.dk, &r.dv}) device.fill(*gradient, 0);
  device.softmax_backward(block, dout, r.lse, r.delta, r.dq, r.dk, r.dv);
  return r;
}

inline void expect_matches(const SoftmaxResults& r, const Attention& a) {
  expect_close(r.o, a.o, "o");
  expect_close(r.lse, a.lse, "lse");
  expect_close(r.dq, a.dq, "dq");
  expect_close(r.dk, a.dk, "dk");
  expect_close(r.dv, a.dv, "dv");
}

inline Positions contiguous(Index n, Index start = 0) { return {{start, 1, n}}; }

}  // namespace ringside
