#include "reference/lightning_oracle.h"

#include <gmock/gmock.h>

#include <stdexcept>

#include "reference/direct_oracle.h"
#include "reference/test_data.h"

namespace ringside {
namespace {

using test::Data;
using test::Fill;
using test::lightning_problem;
using test::make_data;

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
