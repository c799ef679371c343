// Softmax attention against plain double loops.
#include <stdexcept>
#include <thread>

#include "kernels/test_softmax.h"

namespace ringside {
namespace {

using Case = SoftmaxCase;
using Results = SoftmaxResults;

class Softmax : public testing::TestWithParam<std::tuple<DeviceEntry, Case, DType>> {};

TEST_P(Softmax, ForwardAndBackwardMatchDoubleLoops) {
  const auto& [entry, c, dtype] = GetParam();
  if (const auto reason = unsupported(entry, c.head_dim, c.value_dim, dtype, Math::fp32))
    GTEST_SKIP() << *reason;
  const auto device = entry.make({.poison = true});
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
                         testing::Combine(testing::ValuesIn(test_devices()), testing::ValuesIn(kCases),
                                          testing::ValuesIn(kDTypes)),
                         name_of<Case>);

const Case kRing{"ring", 2, 4, 2, 12, 10, contiguous(75, 150), contiguous(225), true};

/// The tokens [first, first + n) of the keys and values of `a`, with a's queries.
SoftmaxBlock key_block(Device& device, const Attention& a, Index first, Index n) {
  return {.q = to_device(device, a.q, DType::fp32),
          .k = to_device(device, slice(a.k, first, n), DType::fp32),
          .v = to_device(device, slice(a.v, first, n), DType::fp32),
          .q_positions = kRing.q_positions,
          .k_positions = contiguous(n, first),
          .mask = {},
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
