#include "reference/lightning_oracle.h"

#include <gmock/gmock.h>

#include <numeric>
#include <stdexcept>
#include <vector>

#include "reference/direct_oracle.h"
#include "reference/test_data.h"

namespace ringside {
namespace {

using test::Data;
using test::Fill;
using test::lightning_problem;
using test::make_data;

/// True if tokens j <= i are in one document.
bool together(const Problem& p, Index i, Index j) {
  if (p.cu_seqlens.empty()) return true;
  for (const Index bound : p.cu_seqlens) {
    if (j < bound && bound <= i) return false;
  }
  return i < p.cu_seqlens.back();
}

/// Written out once more, from the definition alone, for the finite differences.
std::vector<double> forward(const Problem& p, const std::vector<double>& q, const std::vector<double>& k,
                            const std::vector<double>& v) {
  const View<const double> qs{q.data(), p.q_shape()}, ks{k.data(), p.k_shape()}, vs{v.data(), p.v_shape()};
  std::vector<double> o(static_cast<std::size_t>(p.o_shape().size()));
  const View<double> os{o.data(), p.o_shape()};
  for (Index b = 0; b < p.batch; ++b) {
    for (Index h = 0; h < p.heads; ++h) {
      const double slope = p.slopes[static_cast<std::size_t>(h)];
      for (Index i = 0; i < p.seq; ++i) {
        for (Index j = 0; j <= i; ++j) {
          if (!together(p, i, j)) continue;
          double score = 0;
          for (std::size_t c = 0; c < static_cast<std::size_t>(p.head_dim); ++c) {
            score += qs.row(b, h, i)[c] * ks.row(b, h / p.group(), j)[c];
          }
          score *= std::exp(-slope * static_cast<double>(i - j));
          for (std::size_t c = 0; c < static_cast<std::size_t>(p.value_dim); ++c) {
            os.row(b, h, i)[c] += score * vs.row(b, h / p.group(), j)[c];
          }
        }
      }
    }
  }
  return o;
}

Truth oracle(const Data& data, int threads = 1) {
  return lightning_oracle(data.problem, data.operands(), threads);
}

TEST(LightningOracle, GradientsAreDerivatives) {
  const Data data = make_data(lightning_problem({2, 4, 2, 5, 3, 2}));
  test::expect_finite_differences(data, lightning_quadratic(data.problem, data.operands(), 1), forward);
  test::expect_finite_differences(data, lightning_recurrent(data.problem, data.operands(), 1), forward);
}

TEST(LightningOracle, GradientsOfDocumentsAreDerivatives) {
  for (const std::vector<Index>& bounds : {std::vector<Index>{0, 1, 4, 6}, {0, 3, 4, 5}, {0, 6}}) {
    Data data = make_data(lightning_problem({1, 4, 2, 6, 3, 2}));
    data.problem.cu_seqlens = bounds;
    test::expect_finite_differences(data, lightning_quadratic(data.problem, data.operands(), 1), forward);
    test::expect_finite_differences(data, lightning_recurrent(data.problem, data.operands(), 1), forward);
    test::expect_finite_differences(data, direct_lightning(data.problem, data.operands(), 1), forward);
  }
}

TEST(LightningOracle, QuadraticRecurrentAndDirectAgree) {
  for (const Fill kind : {Fill::gaussian, Fill::large, Fill::constant, Fill::one_hot, Fill::denormal}) {
    // Sequences below, at and beyond one and two blocks; odd dimensions, d != e, more rows than a slice of
    // the state.
    for (const Index seq : {1, 2, 31, 33, 127, 128, 129, 260}) {
      SCOPED_TRACE(testing::Message() << "fill " << static_cast<int>(kind) << " seq " << seq);
      Data data = make_data(lightning_problem({1, 6, 2, seq, 19, 3}), kind);
      data.problem.slopes = {0.0F, 1e-3F, 0.1F, 0.7F, 5.0F, 200.0F};
      const Truth direct = direct_lightning(data.problem, data.operands(), 1);
      test::expect_agree(lightning_quadratic(data.problem, data.operands(), 1), direct);
      test::expect_agree(lightning_recurrent(data.problem, data.operands(), 1), direct);
    }
  }
}

TEST(LightningOracle, FormsAgreeInEveryArithmetic) {
  for (const DType storage : kDTypes) {
    for (const Math math : kMaths) {
      const Data data = make_data(lightning_problem({1, 4, 2, 129, 7, 3}), Fill::denormal);
      const Arithmetic arithmetic{storage, math};
      const Truth direct = direct_lightning(data.problem, data.operands(), 1, arithmetic);
      test::expect_agree(lightning_quadratic(data.problem, data.operands(), 1, arithmetic), direct);
      test::expect_agree(lightning_recurrent(data.problem, data.operands(), 1, arithmetic), direct);
    }
  }
}

// Single tokens, ends at and around blocks, padding or none, one token and padding.
const std::vector<std::vector<Index>> kPackings = {{0, 260}, {0, 259},           {0, 1, 2, 129, 130, 258},
                                                   {0, 1},   {0, 128, 129, 260}, {0, 5, 64, 192, 240}};

TEST(LightningOracle, FormsAgreeOnDocuments) {
  for (const Fill kind : {Fill::gaussian, Fill::denormal}) {
    for (const std::vector<Index>& bounds : kPackings) {
      Data data = make_data(lightning_problem({1, 6, 2, 260, 19, 3}), kind);
      data.problem.slopes = {0.0F, 1e-3F, 0.1F, 0.7F, 5.0F, 200.0F};
      data.problem.cu_seqlens = bounds;
      const Truth direct = direct_lightning(data.problem, data.operands(), 1);
      test::expect_agree(lightning_quadratic(data.problem, data.operands(), 1), direct);
      test::expect_agree(lightning_recurrent(data.problem, data.operands(), 1), direct);
      test::expect_agree(oracle(data, 2), direct);
    }
  }
}

/// Rows [begin, end) of a tensor.
template <typename T>
std::vector<T> rows_of(const std::vector<T>& x, const Shape& shape, Index begin, Index end) {
  std::vector<T> rows;
  for (Index i = 0; i < shape.batch * shape.heads && !x.empty(); ++i) {
    const auto head = x.begin() + i * shape.head_size();
    rows.insert(rows.end(), head + begin * shape.dim, head + end * shape.dim);
  }
  return rows;
}

TEST(LightningOracle, DocumentsAreProblemsOfTheirOwn) {
  std::vector<std::vector<Index>> packings = kPackings;
  packings.emplace_back(261);
  std::iota(packings.back().begin(), packings.back().end(), Index{0});  // one a token
  for (const auto& form : {lightning_quadratic, lightning_recurrent, direct_lightning}) {
    for (const std::vector<Index>& bounds : packings) {
      Data data = make_data(lightning_problem({2, 4, 2, 260, 5, 3}));
      data.problem.cu_seqlens = bounds;
      const Truth packed = form(data.problem, data.operands(), 1, {});
      for (std::size_t i = 0; i <= bounds.size() - 1; ++i) {
        const bool padding = i == bounds.size() - 1;
        const Index begin = bounds[i], end = padding ? 260 : bounds[i + 1];
        SCOPED_TRACE(testing::Message() << begin << " to " << end << " of " << bounds.size() - 1);
        Data alone = data;
        alone.problem.cu_seqlens = {};
        alone.problem.seq = end - begin;
        alone.q = rows_of(data.q, data.problem.q_shape(), begin, end);
        alone.k = rows_of(data.k, data.problem.k_shape(), begin, end);
        alone.v = rows_of(data.v, data.problem.v_shape(), begin, end);
        alone.dout = rows_of(data.dout, data.problem.o_shape(), begin, end);
        const Truth one = form(alone.problem, alone.operands(), 1, {});
        for (const test::Pair& t : test::pairs(packed, one)) {
          const auto value = rows_of(t.a.value, t.a.shape, begin, end);
          const auto error = rows_of(t.a.error, t.a.shape, begin, end);
          ASSERT_EQ(value, padding ? std::vector<double>(value.size()) : t.b.value) << t.name;
          ASSERT_EQ(error, padding ? std::vector<float>(error.size()) : t.b.error) << t.name;
          if (padding) continue;
          ASSERT_EQ(rows_of(t.a.shares, t.a.shape, begin, end), t.b.shares) << t.name;
        }
      }
    }
  }
}

TEST(LightningOracle, ChoosesEitherForm) {
  for (const Index seq : {8, 300}) {  // d = e = 16: the recurrent form from 96 tokens on
    const Data data = make_data(lightning_problem({1, 2, 1, seq, 16, 16}));
    test::expect_agree(oracle(data), direct_lightning(data.problem, data.operands(), 1));
  }
}

TEST(LightningOracle, LongSequencesAgree) {
  // Longer than the stretch over which the oracle compares its forms.
  const Data data = make_data(lightning_problem({1, 1, 1, 1500, 4, 4}));
  test::expect_agree(oracle(data), lightning_quadratic(data.problem, data.operands(), 1));
}

TEST(LightningOracle, OneToken) {
  const Data data = make_data(lightning_problem({1, 1, 1, 1, 3, 2}));
  const Truth truth = oracle(data);
  double score = 0, dscore = 0;
  for (std::size_t c = 0; c < 3; ++c)
    score += static_cast<double>(data.q[c]) * static_cast<double>(data.k[c]);
  for (std::size_t c = 0; c < 2; ++c)
    dscore += static_cast<double>(data.dout[c]) * static_cast<double>(data.v[c]);
  for (std::size_t c = 0; c < 2; ++c) {
    EXPECT_DOUBLE_EQ(truth.o.value[c], score * static_cast<double>(data.v[c]));
    EXPECT_DOUBLE_EQ(truth.dv.value[c], score * static_cast<double>(data.dout[c]));
  }
  for (std::size_t c = 0; c < 3; ++c) {
    EXPECT_DOUBLE_EQ(truth.dq.value[c], dscore * static_cast<double>(data.k[c]));
    EXPECT_DOUBLE_EQ(truth.dk.value[c], dscore * static_cast<double>(data.q[c]));
  }
}

/// d = e = 1 and q = k = 1: o_t = Σ_{j<=t} λ^(t-j) v_j and dv_j = Σ_{t>=j} λ^(t-j) do_t.
Data unit_scores(Index seq, float slope) {
  Data data = make_data(lightning_problem({1, 1, 1, seq, 1, 1}));
  data.problem.slopes = {slope};
  std::ranges::fill(data.q, 1.0F);
  std::ranges::fill(data.k, 1.0F);
  for (auto* x : {&data.v, &data.dout}) {
    for (float& value : *x) value = std::round(value * 4);  // small integers: sums are exact
  }
  return data;
}

TEST(LightningOracle, SlopeZeroSums) {
  const Data data = unit_scores(300, 0);
  for (const auto& form : {lightning_quadratic, lightning_recurrent, direct_lightning}) {
    const Truth truth = form(data.problem, data.operands(), 1, {});
    double sum = 0, reverse_sum = 0;
    for (std::size_t t = 0; t < 300; ++t) {
      ASSERT_EQ(truth.o.value[t], sum += static_cast<double>(data.v[t]));
      ASSERT_EQ(truth.dv.value[299 - t], reverse_sum += static_cast<double>(data.dout[299 - t]));
    }
  }
}

TEST(LightningOracle, LargeSlopeLeavesTheDiagonal) {
  const Data data = unit_scores(200, 1000);
  const Truth truth = oracle(data);
  for (std::size_t t = 0; t < 200; ++t) {
    ASSERT_EQ(truth.o.value[t], static_cast<double>(data.v[t]));
    ASSERT_EQ(truth.dv.value[t], static_cast<double>(data.dout[t]));
  }
}

TEST(LightningOracle, OneImpulseDecaysWithDistance) {
  // v is 1 at token 5 alone: o_t = λ^(t-5) from there on, to the rounding of 250 products in fp64.
  Data data = unit_scores(256, 0.05F);
  std::ranges::fill(data.v, 0.0F);
  data.v[5] = 1;
  for (const auto& form : {lightning_quadratic, lightning_recurrent, direct_lightning}) {
    const Truth truth = form(data.problem, data.operands(), 1, {});
    for (std::size_t t = 0; t < 256; ++t) {
      const double power = t < 5 ? 0 : std::exp(-static_cast<double>(0.05F) * (static_cast<double>(t) - 5));
      ASSERT_NEAR(truth.o.value[t], power, 256 * 0x1p-52 * power);
    }
  }
}

TEST(LightningOracle, GroupedHeadsShareKeysAndSumGradients) {
  for (const Index kv_heads : {1, 2, 3, 6}) {
    const Data data = make_data(lightning_problem({2, 6, kv_heads, 40, 5, 3}));
    test::expect_groups_are_sums(data, lightning_quadratic);
    test::expect_groups_are_sums(data, lightning_recurrent);
  }
}

TEST(LightningOracle, DoesNotDependOnThreads) {
  const Data data = make_data(lightning_problem({3, 4, 2, 130, 7, 5}));
  for (const auto& form : {lightning_quadratic, lightning_recurrent, lightning_oracle}) {
    const Truth one = form(data.problem, data.operands(), 1, {});
    for (const int threads : {2, 3, 16})
      test::expect_identical(one, form(data.problem, data.operands(), threads, {}));
  }
}

TEST(LightningOracle, EmptyProblemsHaveEmptyTruths) {
  for (const test::Sizes& sizes : {test::Sizes{0, 2, 1, 5, 3, 3}, test::Sizes{1, 2, 1, 0, 3, 3}}) {
    EXPECT_TRUE(oracle(make_data(lightning_problem(sizes))).o.value.empty());
  }
}

TEST(LightningOracle, RefusesWhatDoesNotFit) {
  const Data data = make_data(lightning_problem({1, 2, 1, 4, 3, 3}));
  Problem problem = data.problem;
  problem.slopes = {0.5F};
  EXPECT_THAT([&] { (void)lightning_oracle(problem, data.operands(), 1); },
              testing::ThrowsMessage<std::invalid_argument>(testing::HasSubstr("1 slopes for 2 heads")));
  for (const float slope :
       {-1.0F, std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    problem.slopes = {0.5F, slope};
    EXPECT_THROW((void)lightning_oracle(problem, data.operands(), 1), std::invalid_argument) << slope;
  }
  EXPECT_THROW((void)lightning_quadratic(data.problem, data.operands(), 0), std::invalid_argument);
}

}  // namespace
}  // namespace ringside
