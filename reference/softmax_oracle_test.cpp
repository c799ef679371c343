#include "reference/softmax_oracle.h"

#include <gmock/gmock.h>

#include <stdexcept>

#include "reference/direct_oracle.h"
#include "reference/lightning_oracle.h"
#include "reference/oracle_common.h"
#include "reference/test_data.h"

namespace ringside {
namespace {

using test::Data;
using test::Fill;
using test::make_data;
using test::softmax_problem;

/// By the definition in problem.h, one document after the other.
bool sees(const Problem& p, Index query, Index key) {
  if (p.causal && key > query) return false;
  if (p.window > 0 && query - key >= p.window) return false;
  bool same = p.cu_seqlens.empty();
  for (std::size_t i = 0; i + 1 < p.cu_seqlens.size(); ++i) {
    const auto holds = [&](Index token) { return p.cu_seqlens[i] <= token && token < p.cu_seqlens[i + 1]; };
    same = same || (holds(query) && holds(key));
  }
  return same;
}

/// Written out once more, from the definition alone, for the finite differences.
std::vector<double> forward(const Problem& p, const std::vector<double>& q, const std::vector<double>& k,
                            const std::vector<double>& v) {
  const View<const double> qs{q.data(), p.q_shape()}, ks{k.data(), p.k_shape()}, vs{v.data(), p.v_shape()};
  std::vector<double> o;
  for (Index b = 0; b < p.batch; ++b) {
    for (Index h = 0; h < p.heads; ++h) {
      for (Index i = 0; i < p.seq; ++i) {
        std::vector<double> row(static_cast<std::size_t>(p.value_dim));
        double norm = 0;
        for (Index j = 0; j < p.seq; ++j) {
          if (!sees(p, i, j)) continue;
          double logit = 0;
          for (std::size_t c = 0; c < static_cast<std::size_t>(p.head_dim); ++c) {
            logit += qs.row(b, h, i)[c] * ks.row(b, h / p.group(), j)[c];
          }
          const double weight = std::exp(static_cast<double>(p.scale) * logit);
          norm += weight;
          for (std::size_t c = 0; c < row.size(); ++c) row[c] += weight * vs.row(b, h / p.group(), j)[c];
        }
        for (const double sum : row) o.push_back(norm == 0 ? 0 : sum / norm);
      }
    }
  }
  return o;
}

Truth oracle(const Data& data, int threads = 1) {
  return softmax_oracle(data.problem, data.operands(), threads);
}

TEST(SoftmaxOracle, GradientsAreDerivatives) {
  for (const bool causal : {true, false}) {
    const Data data = make_data(softmax_problem({2, 4, 2, 5, 3, 2}, causal));
    test::expect_finite_differences(data, oracle(data), forward);
  }
}

/// A problem of one batch entry with documents, a window or both.
Problem packed(Index seq, std::vector<Index> cu_seqlens, bool causal = true, Index window = 0) {
  Problem problem = softmax_problem({1, 2, 1, seq, 5, 3}, causal);
  problem.cu_seqlens = std::move(cu_seqlens);
  problem.window = window;
  return problem;
}

/// Documents of one and of many tokens, that end within and at blocks of rows; padding; windows of one token,
/// within and beyond a block.
std::vector<Problem> packed_problems() {
  const std::vector<Index> bounds = {0, 1, 2, 64, 128, 131, 250};
  std::vector<Problem> all;
  for (const bool causal : {true, false}) {
    all.push_back(packed(250, bounds, causal));
    all.push_back(packed(257, bounds, causal));
    all.push_back(packed(390, bounds, causal));  // a whole block of padding
    all.push_back(packed(140, {0, 127}, causal));
    all.push_back(packed(3, {0, 1, 2, 3}, causal));
  }
  for (const Index window : {1, 2, 64, 100, 129, 1000}) {
    all.push_back(packed(257, {}, true, window));
    all.push_back(packed(257, bounds, true, window));
  }
  return all;
}

TEST(SoftmaxOracle, PackedGradientsAreDerivatives) {
  for (const bool causal : {true, false}) {
    const Data data = make_data(packed(9, {0, 1, 5, 7}, causal));
    test::expect_finite_differences(data, oracle(data), forward);
  }
  for (const Index window : {1, 3}) {
    for (const std::vector<Index>& bounds : {std::vector<Index>{}, {0, 1, 6, 7}}) {
      const Data data = make_data(packed(8, bounds, true, window));
      test::expect_finite_differences(data, oracle(data), forward);
    }
  }
}

TEST(SoftmaxOracle, PackedAgreesWithDirectLoops) {
  for (const Problem& problem : packed_problems()) {
    for (const Fill kind : {Fill::gaussian, Fill::large, Fill::denormal}) {
      SCOPED_TRACE(testing::Message()
                   << "seq " << problem.seq << " documents " << problem.cu_seqlens.size() << " causal "
                   << problem.causal << " window " << problem.window << " fill " << static_cast<int>(kind));
      const Data data = make_data(problem, kind);
      test::expect_agree(oracle(data), direct_softmax(data.problem, data.operands(), 1));
    }
  }
}

/// Tokens [first, end) of a problem, as one of their own.
Data part(const Data& data, Index first, Index end) {
  Data cut;
  cut.problem = data.problem;
  cut.problem.seq = end - first;
  cut.problem.cu_seqlens = {};
  const auto take = [&](const std::vector<float>& from, const Shape& shape, std::vector<float>& to) {
    for (Index h = 0; h < shape.heads; ++h) {
      const float* head = View<const float>{from.data(), shape}.head(0, h);
      to.insert(to.end(), head + first * shape.dim, head + end * shape.dim);
    }
  };
  take(data.q, data.problem.q_shape(), cut.q);
  take(data.k, data.problem.k_shape(), cut.k);
  take(data.v, data.problem.v_shape(), cut.v);
  take(data.dout, data.problem.o_shape(), cut.dout);
  return cut;
}

/// A document is what it is alone, value and error, up to the order of sums (test::expect_agree); padding is
/// 0 with no error at all.
TEST(SoftmaxOracle, DocumentsAreProblemsOfTheirOwn) {
  for (const Problem& problem : packed_problems()) {
    if (problem.cu_seqlens.empty()) continue;
    const Data data = make_data(problem);
    const Truth whole = oracle(data);
    const auto tokens = [&](const Expected& x, Index first, Index end) {
      Expected some = {
          .shape = x.shape, .value = {}, .error = {}, .storage = {}, .floor = 0, .smallest = x.smallest};
      some.shape.tokens = end - first;
      for (Index h = 0; h < x.shape.heads; ++h) {
        for (Index i = (h * x.shape.tokens + first) * x.shape.dim;
             i < (h * x.shape.tokens + end) * x.shape.dim; ++i) {
          some.value.push_back(x.value[static_cast<std::size_t>(i)]);
          some.error.push_back(x.error[static_cast<std::size_t>(i)]);
          some.storage.push_back(view_of(x, false).stored(static_cast<std::size_t>(i)));
        }
      }
      return some;
    };
    const auto cut = [&](const Truth& t, Index first, Index end) {
      return Truth{tokens(t.o, first, end), tokens(t.dq, first, end), tokens(t.dk, first, end),
                   tokens(t.dv, first, end)};
    };
    for (std::size_t i = 0; i + 1 < problem.cu_seqlens.size(); ++i) {
      SCOPED_TRACE(testing::Message() << "seq " << problem.seq << " document " << i << " causal "
                                      << problem.causal << " window " << problem.window);
      const Index first = problem.cu_seqlens[i], end = problem.cu_seqlens[i + 1];
      test::expect_agree(cut(whole, first, end), cut(oracle(part(data, first, end)), 0, end - first));
    }
    const Truth padding = cut(whole, problem.cu_seqlens.back(), problem.seq);
    for (const Expected* x : {&padding.o, &padding.dq, &padding.dk, &padding.dv}) {
      EXPECT_TRUE(std::ranges::all_of(x->value, [](double value) { return value == 0; }));
      EXPECT_TRUE(std::ranges::all_of(x->error, [](float error) { return error == 0; }));
    }
  }
}

TEST(SoftmaxOracle, SomeRowsOfDocumentsAreWhatTheyAreByDirectLoops) {
  for (const Problem& problem : packed_problems()) {
    if (problem.seq < 200) continue;
    for (const std::vector<Index>& rows : {std::vector<Index>{0}, {1, 63, 64, 130, 199}, {5, 6, 7, 129}}) {
      const Data data = make_data(problem);
      Operands some = data.operands();
      some.rows = rows;
      test::expect_agree(softmax_oracle(data.problem, some, 1), direct_softmax(data.problem, some, 1));
    }
  }
}

TEST(SoftmaxOracle, RefusesBoundsThatAreNone) {
  for (const std::vector<Index>& bounds : {std::vector<Index>{0}, {1, 4}, {0, 2, 2}, {0, 3, 2}, {0, 5}}) {
    EXPECT_THROW((void)oracle(make_data(packed(4, bounds))), std::invalid_argument) << bounds.back();
  }
  EXPECT_THROW((void)oracle(make_data(packed(4, {}, false, 2))), std::invalid_argument);
}

TEST(SoftmaxOracle, AgreesWithDirectLoops) {
  for (const bool causal : {true, false}) {
    for (const Fill kind : {Fill::gaussian, Fill::large, Fill::constant, Fill::one_hot, Fill::denormal}) {
      // Sequences below, at and beyond one and two blocks of rows; odd dimensions.
      for (const Index seq : {1, 2, 7, 64, 65, 128, 131, 257}) {
        SCOPED_TRACE(testing::Message()
                     << "causal " << causal << " fill " << static_cast<int>(kind) << " seq " << seq);
        const Data data = make_data(softmax_problem({1, 2, 1, seq, 5, 3}, causal), kind);
        test::expect_agree(oracle(data), direct_softmax(data.problem, data.operands(), 1));
      }
    }
  }
}

TEST(SoftmaxOracle, AgreesWithDirectLoopsInEveryArithmetic) {
  for (const DType storage : kDTypes) {
    for (const Math math : kMaths) {
      const Data data = make_data(softmax_problem({1, 2, 1, 131, 5, 3}), Fill::denormal);
      const Arithmetic arithmetic{storage, math};
      test::expect_agree(softmax_oracle(data.problem, data.operands(), 1, arithmetic),
                         direct_softmax(data.problem, data.operands(), 1, arithmetic));
    }
  }
}

TEST(SoftmaxOracle, OneTokenCopiesItsValue) {
  const Data data = make_data(softmax_problem({2, 2, 2, 1, 4, 3}));
  const Truth truth = oracle(data);
  for (std::size_t i = 0; i < data.v.size(); ++i) {
    EXPECT_EQ(truth.o.value[i], static_cast<double>(data.v[i]));
    EXPECT_EQ(truth.dv.value[i], static_cast<double>(data.dout[i]));
  }
  // dP - Δ = do·v - do·o vanishes but for rounding.
  for (std::size_t i = 0; i < truth.dq.value.size(); ++i) {
    EXPECT_LE(std::abs(truth.dq.value[i]), 0x1p-53 * truth.dq.error[i]);
    EXPECT_LE(std::abs(truth.dk.value[i]), 0x1p-53 * truth.dk.error[i]);
  }
}

TEST(SoftmaxOracle, ConstantValuesPassThrough) {
  Data data = make_data(softmax_problem({1, 2, 2, 70, 8, 4}));
  for (std::size_t i = 0; i < data.v.size(); ++i) data.v[i] = static_cast<float>(i % 4) - 1.5F;
  const Truth truth = oracle(data);
  for (std::size_t i = 0; i < data.v.size(); ++i) {
    ASSERT_NEAR(truth.o.value[i], static_cast<double>(data.v[i]), 1e-13);
    ASSERT_LE(std::abs(truth.dq.value[2 * i]), 0x1p-53 * truth.dq.error[2 * i]);
  }
}

TEST(SoftmaxOracle, UniformLogitsAverage) {
  Data data = make_data(softmax_problem({1, 1, 1, 100, 4, 1}));
  std::ranges::fill(data.q, 0.0F);
  const Truth truth = oracle(data);
  double sum = 0;
  for (std::size_t i = 0; i < 100; ++i) {
    sum += static_cast<double>(data.v[i]);
    ASSERT_NEAR(truth.o.value[i], sum / static_cast<double>(i + 1), 1e-14);
  }
}

TEST(SoftmaxOracle, OneHotLogitsSelectTheirKey) {
  // Token t has q = k = 40·e_t and scale 1: of all keys it sees only its own counts, beside e^-1600.
  Data data = make_data(softmax_problem({1, 1, 1, 70, 70, 2}, false));
  data.problem.scale = 1;
  std::ranges::fill(data.q, 0.0F);
  for (std::size_t t = 0; t < 70; ++t) data.q[t * 70 + t] = 40;
  data.k = data.q;
  const Truth truth = oracle(data);
  for (std::size_t i = 0; i < data.v.size(); ++i) {
    ASSERT_EQ(truth.o.value[i], static_cast<double>(data.v[i]));
    ASSERT_EQ(truth.dv.value[i], static_cast<double>(data.dout[i]));
  }
}

TEST(SoftmaxOracle, GroupedHeadsShareKeysAndSumGradients) {
  for (const Index kv_heads : {1, 2, 3, 6}) {
    test::expect_groups_are_sums(make_data(softmax_problem({2, 6, kv_heads, 67, 5, 3})), softmax_oracle);
  }
}

TEST(SoftmaxOracle, DoesNotDependOnThreads) {
  const Data data = make_data(softmax_problem({3, 4, 2, 130, 7, 5}));
  const Truth one = oracle(data, 1);
  for (const int threads : {2, 3, 16}) test::expect_identical(one, oracle(data, threads));
}

/// `data` with do zero outside `rows`.
Data only_rows(Data data, const std::vector<Index>& rows) {
  const View<float> dout{data.dout.data(), data.problem.o_shape()};
  for (Index i = 0; i < dout.shape.rows(); ++i) {
    if (std::ranges::count(rows, i % dout.shape.tokens) == 0) std::ranges::fill(dout.row(0, 0, i), 0.0F);
  }
  return data;
}

/// Rows that are not among `rows` set to 0, as they are if nobody asks for them.
void clear_others(Expected& x, const std::vector<Index>& rows) {
  for (std::size_t i = 0; i < x.value.size(); ++i) {
    const Index token = static_cast<Index>(i) / x.shape.dim % x.shape.tokens;
    if (std::ranges::count(rows, token) > 0) continue;
    x.value[i] = x.error[i] = 0;
  }
}

/// What a form gives for some rows is what it gives for all with the same do, if all of the others add to dk
/// and dv is zeros: o and dq in those rows, and all of dk and dv. The bounds of dk and dv are narrower, since
/// adding zeros rounds nothing: those of direct_softmax(), which counts the rows afresh.
TEST(SoftmaxOracle, SomeRowsAreWhatTheyAreAmongAll) {
  const std::vector<std::vector<Index>> choices = {
      {0}, {256}, {0, 256}, {3, 63, 64, 65, 127, 128, 129, 200}, {100, 101, 102}};
  for (const DType storage : kDTypes) {
    for (const bool causal : {true, false}) {
      for (const std::vector<Index>& rows : choices) {
        SCOPED_TRACE(testing::Message() << to_string(storage) << " causal " << causal << " " << rows.size()
                                        << " rows from " << rows[0]);
        const Arithmetic arithmetic{storage, Math::fp32};
        const Data data = only_rows(make_data(softmax_problem({2, 4, 2, 257, 5, 3}, causal)), rows);
        Operands some = data.operands();
        some.rows = rows;
        const Truth truth = softmax_oracle(data.problem, some, 1, arithmetic);
        test::expect_agree(truth, direct_softmax(data.problem, some, 1, arithmetic));
        Truth whole = softmax_oracle(data.problem, data.operands(), 1, arithmetic);
        clear_others(whole.o, rows);
        clear_others(whole.dq, rows);
        for (std::size_t i = 0; i < truth.dk.error.size(); ++i) {
          ASSERT_LE(truth.dk.error[i], whole.dk.error[i] * (1 + 0x1p-20)) << i;
        }
        for (std::size_t i = 0; i < truth.dv.error.size(); ++i) {
          ASSERT_LE(truth.dv.error[i], whole.dv.error[i] * (1 + 0x1p-20)) << i;
        }
        whole.dk.error = truth.dk.error;
        whole.dv.error = truth.dv.error;
        test::expect_agree(truth, whole);
      }
    }
  }
}

TEST(SoftmaxOracle, AllRowsByNameAreAllRows) {
  const Data data = make_data(softmax_problem({2, 4, 2, 130, 7, 5}));
  const std::vector<Index> rows = all_rows(130);
  Operands named = data.operands();
  named.rows = rows;
  test::expect_identical(softmax_oracle(data.problem, named, 1), oracle(data));
}

TEST(SoftmaxOracle, RefusesRowsThatAreNone) {
  const Data data = make_data(softmax_problem({1, 2, 1, 4, 3, 3}));
  for (const std::vector<Index>& rows : {std::vector<Index>{-1}, {4}, {1, 1}, {2, 1}}) {
    Operands some = data.operands();
    some.rows = rows;
    EXPECT_THROW((void)softmax_oracle(data.problem, some, 1), std::invalid_argument) << rows[0];
  }
  const std::vector<Index> rows = {1};
  const Data other = make_data(test::lightning_problem({1, 2, 1, 4, 3, 3}));
  Operands some = other.operands();
  some.rows = rows;
  EXPECT_THROW((void)lightning_oracle(other.problem, some, 1), std::invalid_argument);
}

TEST(SoftmaxOracle, EmptyProblemsHaveEmptyTruths) {
  for (const test::Sizes& sizes : {test::Sizes{0, 2, 1, 5, 3, 3}, test::Sizes{1, 2, 1, 0, 3, 3}}) {
    EXPECT_TRUE(oracle(make_data(softmax_problem(sizes))).o.value.empty());
  }
}

TEST(SoftmaxOracle, RefusesWhatDoesNotFit) {
  const Data data = make_data(softmax_problem({1, 2, 1, 4, 3, 3}));
  Operands wrong = data.operands();
  wrong.k.shape.tokens = 5;
  EXPECT_THAT([&] { (void)softmax_oracle(data.problem, wrong, 1); },
              testing::ThrowsMessage<std::invalid_argument>(testing::HasSubstr("k is [1, 1, 5, 3]")));
  EXPECT_THROW((void)oracle(data, 0), std::invalid_argument);
  const Data other = make_data(test::lightning_problem({1, 2, 1, 4, 3, 3}));
  EXPECT_THROW((void)oracle(other), std::invalid_argument);
  Problem uneven = data.problem;
  uneven.heads = 3;
  uneven.kv_heads = 2;
  EXPECT_THROW((void)softmax_oracle(uneven, data.operands(), 1), std::invalid_argument);
}

}  // namespace
}  // namespace ringside
