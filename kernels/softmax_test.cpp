// Softmax attention against plain double loops.
#include <limits>
#include <stdexcept>
#include <thread>

#include "kernels/test_support.h"

namespace ringside {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Case {
  const char* name;
  Index batch, heads, kv_heads, head_dim, value_dim;
  Positions q_positions, k_positions;
  bool causal;
  float scale = 0.4f;
  float deviation = 1;  ///< of q and k
};

std::vector<Index> all_positions(const Positions& positions) {
  std::vector<Index> result;
  for (const Run& run : positions) {
    for (Index i = 0; i < run.count; ++i) result.push_back(run.position(i));
  }
  return result;
}

/// A case's inputs and, by double loops, its results. Magnitudes are in units of 2^-24 (see expect_close).
struct Attention {
  Attention(const Case& c, DType dtype)
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

  void compute(const Case& c, Index b, Index h) {
    const Index kv = h / (c.heads / c.kv_heads), d = c.head_dim, e = c.value_dim;
    const auto q_at = all_positions(c.q_positions), k_at = all_positions(c.k_positions);
    const Index nq = std::ssize(q_at), nk = std::ssize(k_at);
    const auto root = [](Index n) { return std::sqrt(static_cast<double>(n)); };
    const auto scale = static_cast<double>(c.scale);
    for (Index i = 0; i < nq; ++i) {
      const auto sees = [&](Index j) {
        return !c.causal || k_at[static_cast<std::size_t>(j)] <= q_at[static_cast<std::size_t>(i)];
      };
      std::vector<double> logits(k_at.size(), -kInfinity);
      double max = -kInfinity, largest = 0;
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
      for (const double s : logits) sum += max == -kInfinity ? 0 : std::exp(s - max);
      const double log_sum = sum == 0 ? -kInfinity : max + std::log(sum);
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
struct Results {
  Tensor o, lse, delta, dq, dk, dv;
};

Results compute(Device& device, const Case& c, const Attention& a, DType dtype) {
  const SoftmaxBlock block{.q = to_device(device, a.q, dtype),
                           .k = to_device(device, a.k, dtype),
                           .v = to_device(device, a.v, dtype),
                           .q_positions = c.q_positions,
                           .k_positions = c.k_positions,
                           .causal = c.causal,
                           .scale = c.scale};
  const auto make = [&](const Shape& shape) { return device.allocate(shape, DType::fp32); };
  Results r{make(a.dout.shape), make(a.lse.value.shape), make(a.lse.value.shape),
            make(a.q.shape),    make(a.k.shape),         make(a.v.shape)};
  const Tensor dout = to_device(device, a.dout, dtype);
  device.softmax_forward(block, r.o, r.lse);
  device.softmax_delta(r.o, dout, r.delta);
  for (const Tensor* gradient : {&r.dq, &r.dk, &r.dv}) device.fill(*gradient, 0);
  device.softmax_backward(block, dout, r.lse, r.delta, r.dq, r.dk, r.dv);
  return r;
}

void expect_matches(const Results& r, const Attention& a) {
  expect_close(r.o, a.o, "o");
  expect_close(r.lse, a.lse, "lse");
  expect_close(r.dq, a.dq, "dq");
  expect_close(r.dk, a.dk, "dk");
  expect_close(r.dv, a.dv, "dv");
}

Positions contiguous(Index n, Index start = 0) { return {{start, 1, n}}; }

class Softmax : public testing::TestWithParam<std::tuple<Case, DType>> {};

TEST_P(Softmax, ForwardAndBackwardMatchDoubleLoops) {
  const auto& [c, dtype] = GetParam();
  const auto device = make_cpu_device({.poison = true});
  const Attention a(c, dtype);
  expect_matches(compute(*device, c, a, dtype), a);
}

const Case kCases[] = {
    {"one_token", 1, 1, 1, 1, 1, contiguous(1), contiguous(1), true},
    {"no_queries", 1, 2, 1, 4, 4, {}, contiguous(5), true},
    {"no_keys", 1, 2, 1, 4, 4, contiguous(5), {}, true},
    {"odd", 2, 3, 1, 7, 5, contiguous(67), contiguous(67), true},
    {"exact_tiles", 1, 1, 1, 64, 64, contiguous(128), contiguous(128), true},
    {"not_causal", 2, 4, 2, 33, 17, contiguous(130), contiguous(95), false},
    {"wide_values", 1, 2, 2, 9, 150, contiguous(65), contiguous(65), true},
    {"wide_heads", 1, 1, 1, 200, 3, contiguous(70), contiguous(70), true, 0.07f},
    {"negative_scale", 1, 1, 1, 8, 8, contiguous(70), contiguous(70), true, -0.3f},
    {"zero_scale", 1, 1, 1, 8, 8, contiguous(70), contiguous(70), true, 0.0f},
    {"zigzag_own", 1, 2, 1, 8, 6, {{17, 1, 17}, {102, 1, 17}}, {{17, 1, 17}, {102, 1, 17}}, true},
    {"zigzag_other", 1, 2, 1, 8, 6, {{17, 1, 17}, {102, 1, 17}}, {{34, 1, 17}, {85, 1, 17}}, true},
    {"striped_later", 1, 2, 1, 8, 6, {{1, 4, 71}}, {{3, 4, 71}}, true},
    {"striped_earlier", 1, 2, 1, 8, 6, {{3, 4, 71}}, {{1, 4, 71}}, true},
    {"mixed_strides", 1, 1, 1, 8, 6, {{2, 3, 50}, {200, 1, 9}}, {{0, 5, 40}, {201, 2, 3}}, true},
    {"blind_rows", 1, 2, 2, 8, 6, contiguous(50), contiguous(90, 20), true},
    {"all_blind", 1, 2, 2, 8, 6, contiguous(50), contiguous(90, 50), true},
    {"large_logits", 1, 1, 1, 16, 8, contiguous(90), contiguous(90), true, 1.0f, 50.0f},
};

INSTANTIATE_TEST_SUITE_P(Cases, Softmax,
                         testing::Combine(testing::ValuesIn(kCases), testing::ValuesIn(kDTypes)),
                         [](const auto& param) {
                           return std::string(std::get<0>(param.param).name) + "_" +
                                  std::string(to_string(std::get<1>(param.param)));
                         });

const Case kRing{"ring", 2, 4, 2, 12, 10, contiguous(75, 150), contiguous(225), true};

/// The tokens [first, first + n) of the keys and values of `a`, with a's queries.
SoftmaxBlock key_block(Device& device, const Attention& a, Index first, Index n) {
  return {.q = to_device(device, a.q, DType::fp32),
          .k = to_device(device, slice(a.k, first, n), DType::fp32),
          .v = to_device(device, slice(a.v, first, n), DType::fp32),
          .q_positions = kRing.q_positions,
          .k_positions = contiguous(n, first),
          .causal = true,
          .scale = kRing.scale};
}

TEST(SoftmaxBlocks, SplitKeysMergedEqualTheWhole) {
  const auto device = make_cpu_device({.poison = true});
  const Attention a(kRing, DType::fp32);
  const Tensor o = device->allocate(a.dout.shape, DType::fp32),
               lse = device->allocate(a.lse.value.shape, DType::fp32);
  const Tensor block_o = device->allocate(o.shape(), DType::fp32);
  const Tensor block_lse = device->allocate(lse.shape(), DType::fp32);
  device->fill(o, 0);
  device->fill(lse, -std::numeric_limits<float>::infinity());
  const Index kCuts[] = {0, 30, 31, 160, 225};
  for (int part = 3; part >= 0; --part) {
    device->softmax_forward(key_block(*device, a, kCuts[part], kCuts[part + 1] - kCuts[part]), block_o,
                            block_lse);
    device->softmax_merge(block_o, block_lse, o, lse);
  }
  expect_close(o, a.o, "o");
  expect_close(lse, a.lse, "lse");

  const Tensor dout = to_device(*device, a.dout, DType::fp32),
               delta = device->allocate(lse.shape(), DType::fp32);
  device->softmax_delta(o, dout, delta);
  const Tensor dq = device->allocate(a.q.shape, DType::fp32);
  device->fill(dq, 0);
  Array dk(a.k.shape), dv(a.v.shape);
  for (int part = 0; part < 4; ++part) {
    const Index first = kCuts[part], n = kCuts[part + 1] - first;
    const SoftmaxBlock block = key_block(*device, a, first, n);
    const Tensor dk_part = device->allocate(block.k.shape(), DType::fp32);
    const Tensor dv_part = device->allocate(block.v.shape(), DType::fp32);
    device->fill(dk_part, 0);
    device->fill(dv_part, 0);
    device->softmax_backward(block, dout, lse, delta, dq, dk_part, dv_part);
    const auto place = [&](const Tensor& part_tensor, Array& whole) {
      const Array values = from_device(part_tensor);
      const Shape& s = values.shape;
      for (Index b = 0; b < s.batch; ++b) {
        for (Index h = 0; h < s.heads; ++h) {
          for (Index t = 0; t < s.tokens; ++t) {
            for (Index i = 0; i < s.dim; ++i) whole.at(b, h, first + t, i) = values.at(b, h, t, i);
          }
        }
      }
    };
    place(dk_part, dk);
    place(dv_part, dv);
  }
  expect_close(dq, a.dq, "dq");
  expect_close(to_device(*device, dk, DType::fp32), a.dk, "dk");
  expect_close(to_device(*device, dv, DType::fp32), a.dv, "dv");
}

TEST(SoftmaxBlocks, BackwardAddsToWhatIsThere) {
  const auto device = make_cpu_device();
  const Attention a(kRing, DType::fp32);
  const Results r = compute(*device, kRing, a, DType::fp32);
  const Tensor dout = to_device(*device, a.dout, DType::fp32);
  device->softmax_backward(key_block(*device, a, 0, 225), dout, r.lse, r.delta, r.dq, r.dk, r.dv);
  const auto twice = [](Reference reference) {
    for (double& x : reference.value.values) x *= 2;
    for (double& x : reference.magnitude.values) x *= 2;
    return reference;
  };
  expect_close(r.dq, twice(a.dq), "dq");
  expect_close(r.dk, twice(a.dk), "dk");
  expect_close(r.dv, twice(a.dv), "dv");
}

TEST(SoftmaxDelta, SumsRowsInEveryType) {
  const auto device = make_cpu_device({.poison = true});
  for (const DType dtype : kDTypes) {
    const Array o = random_array({2, 3, 5, 37}, DType::fp32, 1), dout = random_array({2, 3, 5, 37}, dtype, 2);
    Reference expected({2, 3, 5, 1});
    for (std::size_t i = 0; i < o.values.size(); ++i) {
      const double term = o.values[i] * dout.values[i];
      expected.value.values[i / 37] += term;
      expected.magnitude.values[i / 37] += (std::sqrt(37.0) + 1) * std::fabs(term);
    }
    const Tensor delta = device->allocate(expected.value.shape, DType::fp32);
    device->softmax_delta(to_device(*device, o, DType::fp32), to_device(*device, dout, dtype), delta);
    expect_close(delta, expected, "delta");
  }
}

TEST(SoftmaxMerge, IsAMonoid) {
  const auto device = make_cpu_device();
  const float masked = -std::numeric_limits<float>::infinity();
  const auto merge = [&](std::vector<double> lse_a, std::vector<double> o_a, std::vector<double> lse_b,
                         std::vector<double> o_b) {
    const Index rows = std::ssize(lse_a);
    const auto tensor = [&](std::vector<double> values) {
      Array x({1, 1, rows, 1});
      x.values = std::move(values);
      return to_device(*device, x, DType::fp32);
    };
    const Tensor a = tensor(std::move(o_a)), la = tensor(std::move(lse_a));
    device->softmax_merge(tensor(std::move(o_b)), tensor(std::move(lse_b)), a, la);
    return std::pair(from_device(la).values, from_device(a).values);
  };
  const double m = static_cast<double>(masked);
  // identity on either side, both masked, equal weights at sizes where exp would overflow, one far below the
  // other
  const auto [lse, o] =
      merge({m, 3, m, 1e4, -1e4, 1e4}, {0, 5, 0, 1, 1, 7}, {2, m, m, 1e4, -1e4, -1e4}, {4, 0, 0, 3, 3, 9});
  const auto log_two = static_cast<double>(std::log1p(1.0f));
  EXPECT_EQ(lse, (std::vector<double>{2, 3, m, static_cast<double>(static_cast<float>(1e4 + log_two)),
                                      static_cast<double>(static_cast<float>(-1e4 + log_two)), 1e4}));
  EXPECT_EQ(o[0], 4);
  EXPECT_EQ(o[1], 5);
  EXPECT_EQ(o[2], 0);
  // lse near 1e4 is rounded by 2^-11 (half a unit of 2^-10), and so are the weights
  EXPECT_NEAR(o[3], 2, 4 * 0x1p-11);
  EXPECT_NEAR(o[4], 2, 4 * 0x1p-11);
  EXPECT_EQ(o[5], 7);
  // a NaN is not lost on either side, least of all to the identity
  const double nan = std::nan("");
  for (const double x : merge({m, nan, nan}, {0, 0, 2}, {nan, m, 1}, {nan, 0, 2}).first) EXPECT_TRUE(x != x);
}

TEST(SoftmaxPoison, UnseenTilesAndOtherHeadsDoNotLeak) {
  const Case c{"poison", 1, 2, 2, 8, 6, contiguous(150), contiguous(150), true};
  const auto device = make_cpu_device();
  const Attention clean(c, DType::fp32);
  Attention dirty = clean;
  for (Array* x : {&dirty.k, &dirty.v}) {  // keys of the last two tiles; in the second head all of them
    for (Index h = 0; h < 2; ++h) {
      for (Index t = h == 0 ? 64 : 0; t < 150; ++t)
        x->at(0, h, t, 0) = std::numeric_limits<double>::quiet_NaN();
    }
  }
  const Results expected = compute(*device, c, clean, DType::fp32),
                r = compute(*device, c, dirty, DType::fp32);
  for (const auto& [got, want] : {std::pair(r.o, expected.o), {r.lse, expected.lse}, {r.dq, expected.dq}}) {
    const std::size_t first_tile = 64 * static_cast<std::size_t>(got.shape().dim) * sizeof(float);
    EXPECT_TRUE(std::equal(got.data(), got.data() + first_tile, want.data()));
  }
  EXPECT_TRUE(std::isnan(from_device(r.o).at(0, 0, 149, 0)));
  EXPECT_TRUE(std::isnan(from_device(r.o).at(0, 1, 0, 0)));
}

TEST(SoftmaxRepeat, SameBitsInEveryRunAndThread) {
  const Attention a(kRing, DType::bf16);
  const auto first_device = make_cpu_device();
  const Results first = compute(*first_device, kRing, a, DType::bf16);
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&] {
      const auto device = make_cpu_device({.poison = true});
      for (int repeat = 0; repeat < 2; ++repeat) {
        const Results r = compute(*device, kRing, a, DType::bf16);
        expect_same_bits(r.o, first.o, "o");
        expect_same_bits(r.lse, first.lse, "lse");
        expect_same_bits(r.dq, first.dq, "dq");
        expect_same_bits(r.dk, first.dk, "dk");
        expect_same_bits(r.dv, first.dv, "dv");
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(SoftmaxErrors, NameOperationAndShapes) {
  const auto device = make_cpu_device();
  const auto make = [&](const Shape& shape, DType dtype = DType::fp32) {
    return device->allocate(shape, dtype);
  };
  SoftmaxBlock block{.q = make({1, 4, 5, 8}),
                     .k = make({1, 2, 5, 8}),
                     .v = make({1, 2, 5, 6}),
                     .q_positions = contiguous(5),
                     .k_positions = contiguous(5)};
  const Tensor o = make({1, 4, 5, 6}), lse = make({1, 4, 5, 1});
  EXPECT_NO_THROW(device->softmax_forward(block, o, lse));
  try {
    device->softmax_forward(block, make({1, 4, 5, 8}), lse);
    FAIL() << "no exception";
  } catch (const std::invalid_argument& error) {
    EXPECT_STREQ(error.what(), "softmax_forward: o is [1, 4, 5, 8] fp32, expected [1, 4, 5, 6]");
  }
  EXPECT_THROW(device->softmax_forward(block, make({1, 4, 5, 6}, DType::bf16), lse), std::invalid_argument);
  const auto expect_refused = [&](auto change) {
    SoftmaxBlock wrong = block;
    change(wrong);
    EXPECT_THROW(device->softmax_forward(wrong, o, lse), std::invalid_argument);
  };
  expect_refused([&](SoftmaxBlock& x) { x.k = make({1, 3, 5, 8}); });
  expect_refused([&](SoftmaxBlock& x) { x.k = make({1, 2, 5, 7}); });
  expect_refused([&](SoftmaxBlock& x) { x.k = make({1, 2, 5, 8}, DType::bf16); });
  expect_refused([&](SoftmaxBlock& x) { x.v = make({1, 2, 4, 6}); });
  expect_refused([&](SoftmaxBlock& x) { x.v = Tensor(); });
  expect_refused([&](SoftmaxBlock& x) { x.k_positions = contiguous(4); });
  expect_refused([&](SoftmaxBlock& x) { x.q_positions = {{0, 0, 5}}; });
}

}  // namespace
}  // namespace ringside
