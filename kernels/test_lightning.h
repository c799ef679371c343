// Linear attention with decay by double loops, for tests.
#pragma once

#include "kernels/test_support.h"

namespace ringside {

struct LightningCase {
  const char* name;
  Index batch, kv_heads, tokens, head_dim, value_dim;
  std::vector<float> slopes;  ///< one a query head
  Documents documents{};

  Index heads() const { return std::ssize(slopes); }
};

/// How many documents begin at tokens up to `token`, -1 in padding: tokens of one number see each other.
inline Index document_at(const LightningCase& c, Index token) {
  if (token >= c.documents.end) return -1;
  return std::ranges::count_if(c.documents.starts, [&](Index start) { return start <= token; });
}

/// A case's inputs with states S and R that enter, and its results by the double sums of decay.h.
/// Magnitudes are in units of 2^-24 (see expect_close).
struct Lightning {
  Lightning(const LightningCase& c, DType dtype, bool zero_states = false)
      : q(random_array({c.batch, c.heads(), c.tokens, c.head_dim}, dtype, 1)),
        k(random_array({c.batch, c.kv_heads, c.tokens, c.head_dim}, dtype, 2)),
        v(random_array({c.batch, c.kv_heads, c.tokens, c.value_dim}, dtype, 3)),
        dout(random_array({c.batch, c.heads(), c.tokens, c.value_dim}, dtype, 4)),
        state(
            random_array({c.batch, c.heads(), c.head_dim, c.value_dim}, DType::fp32, 5, zero_states ? 0 : 3)),
        dstate(random_array({c.batch, c.heads(), c.head_dim, c.value_dim}, DType::fp32, 6,
                            zero_states ? 0 : 3)) {
    for (Index b = 0; b < c.batch; ++b) {
      for (Index h = 0; h < c.heads(); ++h) {
        compute(c, b, h, h / (c.heads() / c.kv_heads),
                static_cast<double>(c.slopes[static_cast<std::size_t>(h)]));
      }
    }
    // Two nested sums (over d or e, then over tokens or a state's rows), and a factor's roundings along the
    // blocks.
    const auto root = [](Index n) { return std::sqrt(static_cast<double>(n)); };
    const double units = 2 * root(c.head_dim) + 2 * root(c.value_dim) + 2 * root(c.tokens) + 4;
    for (Reference* r : {&o, &dq, &dk, &dv, &state_out, &dstate_out}) {
      for (double& x : r->magnitude.values) x *= units;
    }
  }

  Array q, k, v, dout, state, dstate;
  Reference o{dout.shape}, dq{q.shape}, dk{k.shape}, dv{v.shape};
  Reference state_out{state.shape}, dstate_out{dstate.shape};

 private:
  void compute(const LightningCase& problem, Index b, Index h, Index kv, double slope) {
    const Index c = q.shape.tokens, d = q.shape.dim, e = v.shape.dim;
    std::vector<Index> document;
    for (Index t = 0; t < c; ++t) document.push_back(document_at(problem, t));
    const auto of = [&](Index t) { return document[static_cast<std::size_t>(t)]; };
    // The states come from document 0 in front of the chunk and from the last one behind it.
    const Index behind = problem.documents.end < c ? -2 : std::ssize(problem.documents.starts);
    const auto decay = [&](Index distance) { return std::exp(-slope * static_cast<double>(distance)); };
    const auto add = [&](Reference& r, Index head, Index t, Index i, double term) {
      r.add(b, head, t, i, term, std::fabs(term));
    };
    for (Index i = 0; i < c; ++i) {
      for (Index j = 0; j <= i; ++j) {
        if (of(i) != of(j) || of(i) < 0) continue;
        const double factor = decay(i - j);
        double score = 0, score_terms = 0, dp = 0, dp_terms = 0;
        for (Index x = 0; x < d; ++x) {
          score += q.at(b, h, i, x) * k.at(b, kv, j, x);
          score_terms += std::fabs(q.at(b, h, i, x) * k.at(b, kv, j, x));
        }
        for (Index x = 0; x < e; ++x) {
          dp += dout.at(b, h, i, x) * v.at(b, kv, j, x);
          dp_terms += std::fabs(dout.at(b, h, i, x) * v.at(b, kv, j, x));
        }
        for (Index x = 0; x < e; ++x) {
          const double vx = v.at(b, kv, j, x), gx = dout.at(b, h, i, x);
          o.add(b, h, i, x, factor * score * vx, factor * score_terms * std::fabs(vx));
          dv.add(b, kv, j, x, factor * score * gx, factor * score_terms * std::fabs(gx));
        }
        for (Index x = 0; x < d; ++x) {
          const double kx = k.at(b, kv, j, x), qx = q.at(b, h, i, x);
          dq.add(b, h, i, x, factor * dp * kx, factor * dp_terms * std::fabs(kx));
          dk.add(b, kv, j, x, factor * dp * qx, factor * dp_terms * std::fabs(qx));
        }
      }
    }
    for (Index x = 0; x < d; ++x) {
      for (Index y = 0; y < e; ++y) {
        const double s = state.at(b, h, x, y), r = dstate.at(b, h, x, y);
        for (Index i = 0; i < c; ++i) {
          if (of(i) == 0) {
            add(o, h, i, y, decay(i) * q.at(b, h, i, x) * s);
            add(dq, h, i, x, decay(i) * dout.at(b, h, i, y) * s);
            add(dstate_out, h, x, y, decay(i) * q.at(b, h, i, x) * dout.at(b, h, i, y));
          }
          if (of(i) == behind) {
            add(dk, kv, i, x, decay(c - i) * v.at(b, kv, i, y) * r);
            add(dv, kv, i, y, decay(c - i) * k.at(b, kv, i, x) * r);
            add(state_out, h, x, y, decay(c - i) * k.at(b, kv, i, x) * v.at(b, kv, i, y));
          }
        }
        if (behind != 0) continue;
        add(state_out, h, x, y, decay(c) * s);
        add(dstate_out, h, x, y, decay(c) * r);
      }
    }
  }
};

/// What the device makes of tokens [first, first + tokens) given the states that enter; states are replaced.
struct Results {
  Tensor o, dq, dk, dv;
};

inline LightningChunk chunk_of(Device& device, const LightningCase& c, const Lightning& a, Index first,
                               Index tokens, DType dtype) {
  return {.q = to_device(device, slice(a.q, first, tokens), dtype),
          .k = to_device(device, slice(a.k, first, tokens), dtype),
          .v = to_device(device, slice(a.v, first, tokens), dtype),
          .slopes = c.slopes,
          .documents = first == 0 ? c.documents : Documents{}};
}

inline Tensor forward(Device& device, const LightningChunk& chunk, const Tensor& state, DType out) {
  const Shape& q = chunk.q.shape();
  const Tensor o = device.allocate({q.batch, q.heads, q.tokens, chunk.v.shape().dim}, out);
  device.lightning_forward(chunk, state, o);
  return o;
}

inline Results backward(Device& device, const LightningChunk& chunk, const Tensor& dout, const Tensor& state,
                        const Tensor& dstate, DType out) {
  Results r{{},
            device.allocate(chunk.q.shape(), out),
            device.allocate(chunk.k.shape(), out),
            device.allocate(chunk.v.shape(), out)};
  device.lightning_backward(chunk, dout, state, dstate, r.dq, r.dk, r.dv);
  return r;
}

}  // namespace ringside
