// Tests bounds of rounded partial results against sums written out.
#include "reference/partials.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "reference/softmax_oracle.h"
#include "reference/test_data.h"

namespace ringside {
namespace {

using test::Data;
using test::make_data;
using test::softmax_problem;

bool holds(const Positions& piece, Index token) {
  return std::ranges::any_of(piece, [&](const Run& run) {
    return token >= run.start && token < run.position(run.count) && (token - run.start) % run.stride == 0;
  });
}

/// A problem's data and truth, and the terms of one query head by pairs of tokens, all in fp64.
class Written {
 public:
  Written(const Data& data, const Truth& truth, Index h) : data_(data), truth_(truth), h_(h) {
    const Problem& p = data.problem;
    for (Index i = 0; i < p.seq; ++i) {
      std::vector<double> row(size(p.seq));
      double norm = 0;
      for (Index j = 0; j < p.seq; ++j) {
        if (sees(i, j)) norm += row[size(j)] = std::exp(static_cast<double>(p.scale) * dot(q(i), k(j)));
      }
      for (double& weight : row) weight = norm > 0 ? weight / norm : 0;
      weights_.push_back(std::move(row));
    }
  }

  bool sees(Index i, Index j) const {
    const Problem& p = data_.problem;
    const auto document = [&](Index t) {
      return std::ranges::upper_bound(p.cu_seqlens, t) - p.cu_seqlens.begin();
    };
    return (!p.causal || j <= i) && (p.window == 0 || i - j < p.window) &&
           (p.cu_seqlens.empty() || (document(i) == document(j) && std::max(i, j) < p.tokens_in_documents()));
  }
  double weight(Index i, Index j) const { return weights_[size(i)][size(j)]; }
  double ds(Index i, Index j) const { return weight(i, j) * (dot(dout(i), v(j)) - delta(i)); }
  double delta(Index i) const {
    double sum = 0;
    for (std::size_t c = 0; c < dout(i).size(); ++c) sum += double{dout(i)[c]} * o(i)[c];
    return sum;
  }
  std::span<const float> q(Index t) const { return data_.operands().q.row(0, h_, t); }
  std::span<const float> k(Index t) const { return data_.operands().k.row(0, h_ / data_.problem.group(), t); }
  std::span<const float> v(Index t) const { return data_.operands().v.row(0, h_ / data_.problem.group(), t); }
  std::span<const float> dout(Index t) const { return data_.operands().dout.row(0, h_, t); }
  std::span<const double> o(Index t) const {
    return View<const double>{truth_.o.value.data(), truth_.o.shape}.row(0, h_, t);
  }

  static std::size_t size(Index i) { return static_cast<std::size_t>(i); }
  static double dot(std::span<const float> a, std::span<const float> b) {
    double sum = 0;
    for (std::size_t c = 0; c < a.size(); ++c) sum += double{a[c]} * double{b[c]};
    return sum;
  }

 private:
  const Data& data_;
  const Truth& truth_;
  Index h_;
  std::vector<std::vector<double>> weights_;
};

/// Σ over pieces of |their sum of term(other token)|, 0 where one piece is all that is seen; `seen`: whether
/// a token takes part.
template <typename Term, typename Seen>
double pieces_of(const Pieces& pieces, Index seq, const Term& term, const Seen& seen) {
  double magnitude = 0;
  int count = 0;
  for (const Positions& piece : pieces) {
    double sum = 0;
    bool any = false;
    for (Index t = 0; t < seq; ++t) {
      if (!holds(piece, t) || !seen(t)) continue;
      any = true;
      sum += term(t);
    }
    magnitude += any ? std::max(std::abs(sum), smallest_normal(DType::bf16)) : 0;
    count += any;
  }
  return count > 1 ? magnitude : 0;
}

const Pieces kHalves = {{{0, 1, 11}}, {{11, 1, 12}}};
const Pieces kStripes = {{{0, 3, 8}}, {{1, 3, 8}}, {{2, 3, 7}}};
const Pieces kZigzag = {{{18, 1, 5}, {0, 1, 5}}, {{5, 1, 6}}, {{11, 1, 7}}};

class EveryPiece : public ::testing::TestWithParam<Pieces> {};

TEST_P(EveryPiece, AreThoseOfTheDefinition) {
  for (const bool causal : {true, false}) {
    Problem problem =
        softmax_problem({.heads = 2, .kv_heads = 2, .seq = 23, .head_dim = 3, .value_dim = 4}, causal);
    if (causal) problem.window = 9, problem.cu_seqlens = {0, 6, 21};
    const Data data = make_data(problem);
    Truth truth = softmax_oracle(problem, data.operands(), 1, {DType::bf16, Math::fp32});
    add_partials(problem, data.operands(), 1, DType::bf16, DType::bf16, GetParam(), truth);
    const double scale = double{problem.scale};
    for (Index h = 0; h < problem.heads; ++h) {
      const Written x(data, truth, h);
      const auto of = [&](const Expected& e, Index t, std::size_t c) {
        return View<const double>{e.partials.data(), e.shape}.row(0, h, t)[c];
      };
      const auto keys_of = [&](Index i, const auto& term) {
        return pieces_of(GetParam(), problem.seq, term, [&](Index j) { return x.sees(i, j); });
      };
      const auto queries_of = [&](Index j, const auto& term) {
        return pieces_of(GetParam(), problem.seq, term, [&](Index i) { return x.sees(i, j); });
      };
      const auto o = [&](Index i, std::size_t c) {
        return keys_of(i, [&](Index j) { return x.weight(i, j) * double{x.v(j)[c]}; });
      };
      const auto d = [&](Index i) {
        double sum = 0;
        for (std::size_t c = 0; c < 4; ++c) sum += std::abs(double{x.dout(i)[c]}) * o(i, c);
        return sum;
      };
      for (Index t = 0; t < problem.tokens_in_documents(); ++t) {
        for (std::size_t c = 0; c < 4; ++c) {
          ASSERT_NEAR(of(truth.o, t, c), o(t, c), 1e-12) << t;
          const double dv = queries_of(t, [&](Index i) { return x.weight(i, t) * double{x.dout(i)[c]}; });
          ASSERT_NEAR(of(truth.dv, t, c), dv, 1e-12) << t;
        }
        for (std::size_t c = 0; c < 3; ++c) {
          double dq = keys_of(t, [&](Index j) { return scale * x.ds(t, j) * double{x.k(j)[c]}; });
          double dk = queries_of(t, [&](Index i) { return scale * x.ds(i, t) * double{x.q(i)[c]}; });
          for (Index s = 0; s < problem.seq; ++s) {
            dq += scale * x.weight(t, s) * d(t) * std::abs(double{x.k(s)[c]});
            dk += scale * x.weight(s, t) * d(s) * std::abs(double{x.q(s)[c]});
          }
          ASSERT_NEAR(of(truth.dq, t, c), dq, 1e-12) << t;
          ASSERT_NEAR(of(truth.dk, t, c), dk, 1e-12) << t;
        }
      }
      for (Index t = problem.tokens_in_documents(); t < problem.seq; ++t) {
        ASSERT_EQ(of(truth.o, t, 0), 0);
        ASSERT_EQ(of(truth.dk, t, 0), 0);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Of, EveryPiece, ::testing::Values(kHalves, kStripes, kZigzag));

TEST(Partials, OfOneRankAddNothingUnlessTheyAreNarrowerThanResults) {
  const Data data =
      make_data(softmax_problem({.heads = 1, .kv_heads = 1, .seq = 9, .head_dim = 4, .value_dim = 4}));
  Truth truth = softmax_oracle(data.problem, data.operands(), 1);
  add_partials(data.problem, data.operands(), 1, DType::bf16, DType::bf16, {{{0, 1, 9}}}, truth);
  for (const Expected* x : {&truth.o, &truth.dq, &truth.dk, &truth.dv})
    EXPECT_EQ(*std::ranges::max_element(x->partials), 0);
  add_partials(data.problem, data.operands(), 1, DType::fp32, DType::bf16, {{{0, 1, 9}}}, truth);
  for (std::size_t i = 0; i < truth.o.value.size(); ++i)
    EXPECT_NEAR(truth.o.partials[i], std::abs(truth.o.value[i]), 1e-14);
}

TEST(Partials, OfQueryHeadsAreRoundedEachAndTogether) {
  const Data grouped =
      make_data(softmax_problem({.heads = 4, .kv_heads = 2, .seq = 12, .head_dim = 3, .value_dim = 2}));
  const Data alone = test::repeat_kv_heads(grouped);
  const Pieces pieces = {{{0, 1, 6}}, {{6, 1, 6}}};
  const auto truth_of = [&](const Data& data) {
    Truth truth = softmax_oracle(data.problem, data.operands(), 1);
    add_partials(data.problem, data.operands(), 1, DType::fp32, DType::fp16, pieces, truth);
    return truth;
  };
  const Truth together = truth_of(grouped), apart = truth_of(alone);
  EXPECT_EQ(together.dq.partials, apart.dq.partials);
  for (const auto& [sum, parts] : {std::pair{&together.dk, &apart.dk}, std::pair{&together.dv, &apart.dv}}) {
    const auto size = static_cast<std::size_t>(sum->shape.head_size());
    double largest = 0;
    for (std::size_t i = 0; i < sum->partials.size(); ++i) {
      const std::size_t first = i / size * 2 * size + i % size;  // two query heads a kv head
      const double each = parts->partials[first] + parts->partials[first + size];
      ASSERT_GE(sum->partials[i], each) << i;
      ASSERT_LE(sum->partials[i], 2 * each + 1e-13) << i;
      largest = std::max(largest, sum->partials[i] / each);
    }
    EXPECT_GT(largest, 1.5);
  }
}

}  // namespace
}  // namespace ringside
