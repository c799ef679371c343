// Tests unfused operations, tile products and transpositions against loops.
#include <limits>
#include <stdexcept>

#include "kernels/cpu/product.h"
#include "kernels/test_support.h"

namespace ringside {
namespace {

class Matmul : public testing::TestWithParam<DeviceEntry> {};
class DecayScores : public testing::TestWithParam<DeviceEntry> {};
class DecayRows : public testing::TestWithParam<DeviceEntry> {};
INSTANTIATE_TEST_SUITE_P(Devices, Matmul, testing::ValuesIn(test_devices()), name_of_device);
INSTANTIATE_TEST_SUITE_P(Devices, DecayScores, testing::ValuesIn(test_devices()), name_of_device);
INSTANTIATE_TEST_SUITE_P(Devices, DecayRows, testing::ValuesIn(test_devices()), name_of_device);

/// op(x)[i, j] of one head.
double element(const Array& x, Transpose t, Index b, Index h, Index i, Index j) {
  return t == Transpose::no ? x.at(b, h, i, j) : x.at(b, h, j, i);
}

Reference product(const Array& a, Transpose ta, const Array& b, Transpose tb, Index c_heads) {
  const Shape& s = a.shape;
  const Index m = ta == Transpose::no ? s.tokens : s.dim, depth = ta == Transpose::no ? s.dim : s.tokens;
  const Index n = tb == Transpose::no ? b.shape.dim : b.shape.tokens;
  Reference c({s.batch, c_heads, m, n});
  const double units = std::sqrt(static_cast<double>(depth * s.heads / c_heads)) + 2;
  for (Index batch = 0; batch < s.batch; ++batch) {
    for (Index h = 0; h < s.heads; ++h) {
      const Index b_head = h / (s.heads / b.shape.heads), c_head = h / (s.heads / c_heads);
      for (Index i = 0; i < m; ++i) {
        for (Index j = 0; j < n; ++j) {
          for (Index k = 0; k < depth; ++k) {
            const double term = element(a, ta, batch, h, i, k) * element(b, tb, batch, b_head, k, j);
            c.add(batch, c_head, i, j, term, units * std::fabs(term));
          }
        }
      }
    }
  }
  return c;
}

Shape stored(Index batch, Index heads, Index rows, Index cols, Transpose t) {
  return t == Transpose::no ? Shape{batch, heads, rows, cols} : Shape{batch, heads, cols, rows};
}

struct Size {
  Index m, n, k;
};

TEST_P(Matmul, AllSizesTransposesAndTypes) {
  const auto device = GetParam().make({.poison = true});
  for (const Size s : {Size{1, 1, 1},
                       {3, 5, 7},
                       {67, 70, 130},
                       {64, 256, 128},
                       {65, 257, 129},
                       {2, 3, 2500},
                       {2, 3, 0},
                       {0, 3, 2}}) {
    for (const Transpose ta : {Transpose::no, Transpose::yes}) {
      for (const Transpose tb : {Transpose::no, Transpose::yes}) {
        for (const DType dtype : kDTypes) {
          const Array a = random_array(stored(1, 1, s.m, s.k, ta), dtype, 1);
          const Array b = random_array(stored(1, 1, s.k, s.n, tb), DType::fp32, 2);
          Reference expected = product(a, ta, b, tb, 1);
          const Tensor c = device->allocate(expected.value.shape, DType::fp32);
          const Tensor left = to_device(*device, a, dtype), right = to_device(*device, b, DType::fp32);
          device->matmul(left, ta, right, tb, c, false, Causal::none, kEveryToken);
          expect_close(c, expected, "c = ab");
          device->matmul(left, ta, right, tb, c, true, Causal::none, kEveryToken);
          for (double& x : expected.value.values) x *= 2;
          for (double& x : expected.magnitude.values) x *= 2;
          expect_close(c, expected, "c += ab");
        }
      }
    }
  }
}

/// x: [b, h, n, n] with `value` above the diagonal.
Array with_above(Array x, double value) {
  const Shape& s = x.shape;
  for (Index b = 0; b < s.batch; ++b) {
    for (Index h = 0; h < s.heads; ++h) {
      for (Index i = 0; i < s.tokens; ++i) {
        for (Index j = i + 1; j < s.dim; ++j) x.at(b, h, i, j) = value;
      }
    }
  }
  return x;
}

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Causal scores: what lies above the diagonal is not needed, be it of a factor or of the result.
TEST_P(Matmul, LeavesOutWhatIsAboveTheDiagonal) {
  const auto device = GetParam().make({.poison = true});
  for (const Index n : {1, 2, 63, 64, 65, 129, 300}) {
    const Array scores = with_above(random_array({1, 2, n, n}, DType::fp32, 1), 0);
    const Array b = random_array({1, 2, n, 5}, DType::fp32, 2),
                wide = random_array({1, 2, n, 7}, DType::fp32, 3);
    const Tensor left = to_device(*device, with_above(scores, kNaN), DType::fp32),
                 right = to_device(*device, b, DType::fp32);
    for (const Transpose ta : {Transpose::no, Transpose::yes}) {
      const Tensor c = device->allocate(b.shape, DType::fp32);
      device->matmul(left, ta, right, Transpose::no, c, false, Causal::a, kEveryToken);
      expect_close(c, product(scores, ta, b, Transpose::no, 2), "causal a");
    }
    const Tensor c = device->allocate(scores.shape, DType::fp32);
    const Tensor rows = to_device(*device, wide, DType::fp32);
    device->matmul(rows, Transpose::no, rows, Transpose::yes, c, false, Causal::c, kEveryToken);
    Reference expected = product(wide, Transpose::no, wide, Transpose::yes, 2);
    expected.value = with_above(std::move(expected.value), 0);
    expect_close(to_device(*device, with_above(from_device(c), 0), DType::fp32), expected, "causal c");
  }
}

/// x with `value` in every element whose row is not in `rows` or whose column is not in `cols`.
Array outside(Array x, TokenSpan rows, TokenSpan cols, double value) {
  const Shape& s = x.shape;
  for (Index b = 0; b < s.batch; ++b) {
    for (Index h = 0; h < s.heads; ++h) {
      for (Index i = 0; i < s.tokens; ++i) {
        for (Index j = 0; j < s.dim; ++j) {
          if (i < rows.first || i >= rows.end || j < cols.first || j >= cols.end) x.at(b, h, i, j) = value;
        }
      }
    }
  }
  return x;
}

// Tokens that take no part: NaN there does no harm, and results there stay as they were.
TEST_P(Matmul, TakesOnlyTheTokensThatItIsGiven) {
  const auto device = GetParam().make({.poison = true});
  const Index n = 150;
  for (const TokenSpan t :
       {TokenSpan{0, 150}, {0, 1}, {149, 150}, {20, 131}, {64, 128}, {7, 7}, {150, 150}}) {
    for (const DType dtype : {DType::fp32, DType::bf16}) {
      SCOPED_TRACE(testing::Message() << t.first << " to " << t.end << " " << to_string(dtype));
      const auto put = [&](const Array& x) { return to_device(*device, x, dtype); };
      const auto untouched = [&](const Shape& shape) {
        const Tensor c = device->allocate(shape, DType::fp32);
        device->fill(c, 7);
        return c;
      };
      /// Rows and columns of c in the spans as in `expected`, which has nothing else; 7 elsewhere.
      const auto expect_part = [&](const Tensor& c, Reference expected, TokenSpan rows, TokenSpan cols) {
        expected.value = outside(std::move(expected.value), rows, cols, 7);
        expected.magnitude = outside(std::move(expected.magnitude), rows, cols, 0);
        expect_close(c, expected, "part");
      };
      const Array a = random_array({1, 2, n, 5}, dtype, 1), b = random_array({1, 2, n, 3}, dtype, 2);
      const Array bad_a = outside(a, t, kEveryToken, kNaN), bad_b = outside(b, t, kEveryToken, kNaN);
      const Array zero_a = outside(a, t, kEveryToken, 0);
      const Array square = random_array({1, 2, 5, 3}, dtype, 3);

      Tensor c = untouched(b.shape);  // rows of a and c
      device->matmul(put(bad_a), Transpose::no, put(square), Transpose::no, c, false, Causal::none, t);
      expect_part(c, product(zero_a, Transpose::no, square, Transpose::no, 2), t, kEveryToken);
      c = untouched({1, 2, 5, 3});  // summed over
      device->matmul(put(bad_a), Transpose::yes, put(bad_b), Transpose::no, c, false, Causal::none, t);
      expect_close(c, product(zero_a, Transpose::yes, outside(b, t, kEveryToken, 0), Transpose::no, 2),
                   "sum");

      c = untouched({1, 2, n, n});  // scores
      device->matmul(put(bad_a), Transpose::no, put(bad_a), Transpose::yes, c, false, Causal::c, t);
      Array lower = from_device(c);
      Reference expected = product(zero_a, Transpose::no, zero_a, Transpose::yes, 2);
      for (Array* x : {&lower, &expected.value, &expected.magnitude}) {
        if (x != &lower) *x = outside(std::move(*x), t, t, x == &expected.value ? 7 : 0);
        for (Index i = t.first; i < t.end; ++i) {
          for (Index h = 0; h < 2; ++h) {
            for (Index j = i + 1; j < t.end; ++j) x->at(0, h, i, j) = 0;
          }
        }
      }
      expect_close(to_device(*device, lower, DType::fp32), expected, "scores");

      const Array scores = random_array({1, 2, n, n}, DType::fp32, 4);
      const Tensor bad_scores =
          to_device(*device, with_above(outside(scores, t, t, kNaN), kNaN), DType::fp32);
      const Array good_scores = with_above(outside(scores, t, t, 0), 0);
      for (const Transpose ta : {Transpose::no, Transpose::yes}) {
        c = untouched(b.shape);
        device->matmul(bad_scores, ta, put(bad_b), Transpose::no, c, false, Causal::a, t);
        expect_part(c, product(good_scores, ta, outside(b, t, kEveryToken, 0), Transpose::no, 2), t,
                    kEveryToken);
      }
    }
  }
}

TEST_P(Matmul, SharesAndSumsOverGroups) {
  const auto device = GetParam().make({.poison = true});
  const Array a = random_array({2, 6, 9, 5}, DType::fp32, 1);
  const Array shared = random_array({2, 2, 5, 7}, DType::fp32, 2),
              own = random_array({2, 6, 9, 7}, DType::fp32, 3);
  const Tensor each = device->allocate({2, 6, 9, 7}, DType::fp32),
               summed = device->allocate({2, 2, 5, 7}, DType::fp32);
  const Tensor left = to_device(*device, a, DType::fp32);
  device->matmul(left, Transpose::no, to_device(*device, shared, DType::fp32), Transpose::no, each, false,
                 Causal::none, kEveryToken);
  expect_close(each, product(a, Transpose::no, shared, Transpose::no, 6), "shared");
  device->matmul(left, Transpose::yes, to_device(*device, own, DType::fp32), Transpose::no, summed, false,
                 Causal::none, kEveryToken);
  expect_close(summed, product(a, Transpose::yes, own, Transpose::no, 2), "summed");
}

TEST_P(Matmul, RefusesWhatDoesNotFit) {
  const auto device = GetParam().make({});
  const auto make = [&](const Shape& s) { return device->allocate(s, DType::fp32); };
  const auto refused = [&](const Shape& a, const Shape& b, const Shape& c) {
    EXPECT_THROW(device->matmul(make(a), Transpose::no, make(b), Transpose::no, make(c), false, Causal::none,
                                kEveryToken),
                 std::invalid_argument);
  };
  refused({1, 1, 2, 3}, {1, 1, 4, 5}, {1, 1, 2, 5});
  refused({1, 1, 2, 3}, {1, 1, 3, 5}, {1, 1, 2, 4});
  refused({1, 4, 2, 3}, {1, 3, 3, 5}, {1, 4, 2, 5});
  refused({1, 4, 2, 3}, {1, 2, 3, 5}, {1, 2, 2, 5});
  refused({2, 1, 2, 3}, {1, 1, 3, 5}, {2, 1, 2, 5});
}

TEST_P(DecayScores, DecaysBelowTheDiagonalAndLeavesTheRest) {
  const auto device = GetParam().make({.poison = true});
  const std::vector<float> slopes{0.0f, 0.3f, 20.0f};
  for (const Index n : {0, 1, 2, 37}) {
    const Array scores = with_above(random_array({2, 3, n, n}, DType::fp32, 1), 7);
    Reference expected(scores.shape);
    for (Index b = 0; b < 2; ++b) {
      for (Index h = 0; h < 3; ++h) {
        for (Index i = 0; i < n; ++i) {
          for (Index j = 0; j < n; ++j) {
            if (j > i) {
              expected.add(b, h, i, j, 7, 0);
              continue;
            }
            const auto slope = static_cast<double>(slopes[static_cast<std::size_t>(h)]);
            const double value = scores.at(b, h, i, j) * std::exp(-slope * static_cast<double>(i - j));
            expected.add(b, h, i, j, value, 2 * std::fabs(value));  // the factor's rounding and the product's
          }
        }
      }
    }
    const Tensor x = to_device(*device, scores, DType::fp32);
    device->decay_scores(x, slopes, kEveryToken);
    expect_close(x, expected, "scores");
  }
}

TEST_P(DecayScores, OfSomeTokensDecaysThoseAlone) {
  const auto device = GetParam().make({.poison = true});
  const Array scores = random_array({1, 1, 9, 9}, DType::fp32, 1);
  const Tensor x = to_device(*device, scores, DType::fp32);
  device->decay_scores(x, std::vector{0.3f}, {2, 6});
  const Array got = from_device(x);
  for (Index i = 0; i < 9; ++i) {
    for (Index j = 0; j < 9; ++j) {
      const bool decays = 2 <= j && j < i && i < 6;
      const double factor = decays ? std::exp(-double{0.3f} * static_cast<double>(i - j)) : 1;
      EXPECT_NEAR(got.at(0, 0, i, j), factor * scores.at(0, 0, i, j), decays ? 0x1p-22 * factor : 0)
          << i << "," << j;
    }
  }
}

TEST_P(DecayRows, EveryDecayAndSharedHeads) {
  const auto device = GetParam().make({.poison = true});
  const std::vector<float> slopes{0.0f, 0.3f, 0.01f, 2.0f};
  const Index n = 11;
  for (const DType dtype : kDTypes) {
    const Array x = random_array({2, 2, n, 3}, dtype, 1);
    for (const Decay decay : {decay_from_start(), decay_to_end(n), decay_across(5), Decay{3, 2}}) {
      Reference expected({2, 4, n, 3});
      for (Index b = 0; b < 2; ++b) {
        for (Index h = 0; h < 4; ++h) {
          for (Index i = 0; i < n; ++i) {
            const auto exponent = static_cast<double>(decay.offset + decay.step * i);
            const double factor =
                std::exp(-static_cast<double>(slopes[static_cast<std::size_t>(h)]) * exponent);
            for (Index c = 0; c < 3; ++c) {
              const double value = factor * x.at(b, h / 2, i, c);
              expected.add(b, h, i, c, value, 2 * std::fabs(value));
            }
          }
        }
      }
      const Tensor y = device->allocate(expected.value.shape, DType::fp32);
      device->decay_rows(to_device(*device, x, dtype), slopes, decay, y);
      expect_close(y, expected, "rows");
    }
  }
}

TEST(Transposition, EverySmallShape) {
  for (Index rows = 1; rows < 20; ++rows) {
    for (Index cols = 1; cols < 20; ++cols) {
      const Index in_stride = cols + 3, out_stride = rows + 2;
      std::vector<float> in(static_cast<std::size_t>(rows * in_stride)),
          out(static_cast<std::size_t>(cols * out_stride), -1);
      for (std::size_t i = 0; i < in.size(); ++i) in[i] = static_cast<float>(i);
      transpose({in.data(), rows, cols, in_stride}, out.data(), out_stride);
      for (Index j = 0; j < cols; ++j) {
        for (Index i = 0; i < out_stride; ++i) {
          const float expected = i < rows ? in[static_cast<std::size_t>(i * in_stride + j)] : -1;
          ASSERT_EQ(out[static_cast<std::size_t>(j * out_stride + i)], expected) << rows << " x " << cols;
        }
      }
    }
  }
}

// Strided tiles inside larger arrays of NaN: what lies beside them is neither read nor written.
TEST(TileProduct, StaysInsideItsTiles) {
  for (const Size s : {Size{1, 1, 1}, {5, 3, 2}, {17, 9, 65}, {64, 64, 64}, {63, 33, 130}}) {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const auto tile = [&](Index rows, Index cols) {
      std::vector<float> x(static_cast<std::size_t>((rows + 1) * (cols + 4)), nan);
      for (Index i = 0; i < rows; ++i) {
        for (Index j = 0; j < cols; ++j)
          x[static_cast<std::size_t>(i * (cols + 4) + j)] = static_cast<float>(i + 2 * j);
      }
      return x;
    };
    const std::vector<float> a = tile(s.m, s.k), b = tile(s.k, s.n);
    std::vector<float> c(static_cast<std::size_t>((s.m + 1) * (s.n + 4)), nan);
    multiply({a.data(), s.m, s.k, s.k + 4}, {b.data(), s.k, s.n, s.n + 4}, {c.data(), s.m, s.n, s.n + 4},
             Into::overwrite);
    for (Index i = 0; i <= s.m; ++i) {
      for (Index j = 0; j < s.n + 4; ++j) {
        double expected = 0;  // sums of small integers are exact below 2^24
        for (Index k = 0; k < s.k; ++k) expected += static_cast<double>((i + 2 * k) * (k + 2 * j));
        const float got = c[static_cast<std::size_t>(i * (s.n + 4) + j)];
        if (i < s.m && j < s.n) {
          ASSERT_EQ(static_cast<double>(got), expected) << i << ' ' << j;
        } else {
          ASSERT_TRUE(std::isnan(got)) << i << ' ' << j;
        }
      }
    }
  }
}

}  // namespace
}  // namespace ringside
