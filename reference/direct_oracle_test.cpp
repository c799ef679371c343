#include "reference/direct_oracle.h"

#include "reference/lightning_oracle.h"
#include "reference/softmax_oracle.h"
#include "reference/test_data.h"

namespace ringside {
namespace {

using test::Data;
using test::make_data;

constexpr Index kSeq = 12;
constexpr Index kBad = 5;  // the token that holds a NaN or an infinity

bool finite_row(const Expected& x, Index token) {
  for (Index c = 0; c < x.shape.dim; ++c) {
    const auto at = static_cast<std::size_t>(token * x.shape.dim + c);
    if (!std::isfinite(x.value[at])) return false;
    // A finite element has a finite bound.
    EXPECT_TRUE(std::isfinite(x.error[at]) && std::isfinite(view_of(x, false).stored(at)))
        << "token " << token;
  }
  return true;
}

/// Which rows are finite, as a string of '.' and, for those that are not, 'x'.
std::string pattern(const Expected& x) {
  std::string text;
  for (Index t = 0; t < x.shape.tokens; ++t) text += finite_row(x, t) ? '.' : 'x';
  return text;
}

Truth judge(const Data& data) {
  const bool softmax = data.problem.op == Operator::softmax;
  const Truth truth = (softmax ? softmax_oracle : lightning_oracle)(data.problem, data.operands(), 1, {});
  for (const Expected* x : {&truth.o, &truth.dq, &truth.dk, &truth.dv}) EXPECT_TRUE(std::isfinite(x->floor));
  return truth;
}

struct Case {
  std::vector<float> Data::*operand;
  // Rows that see the bad token: of the token itself, of the queries after it, of the keys before it.
  std::string o, dq, dk, dv;
};

const std::string kNone = "............", kSelf = ".....x......", kLater = ".....xxxxxxx",
                  kEarlier = "xxxxxx......";

void expect_patterns(const Problem& problem, const std::vector<Case>& cases) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (std::size_t i = 0; i < cases.size(); ++i) {
      SCOPED_TRACE(testing::Message() << bad << " in operand " << i);
      Data data = make_data(problem);
      // All positive, so that an infinity cannot meet one of the other sign or give a logit of -inf (weight
      // 0).
      for (auto* x : {&data.q, &data.k, &data.v, &data.dout}) {
        for (float& value : *x) value = std::abs(value) + 0.1F;
      }
      auto& x = data.*cases[i].operand;
      x[static_cast<std::size_t>(kBad) * x.size() / static_cast<std::size_t>(kSeq)] = bad;
      const Truth truth = judge(data);
      EXPECT_EQ(pattern(truth.o), cases[i].o);
      EXPECT_EQ(pattern(truth.dq), cases[i].dq);
      EXPECT_EQ(pattern(truth.dk), cases[i].dk);
      EXPECT_EQ(pattern(truth.dv), cases[i].dv);
    }
  }
}

const std::string kAll = "xxxxxxxxxxxx";

TEST(DirectOracle, SoftmaxShowsNonFiniteOperandsWhereTheyAreSeen) {
  // A bad key or value spoils all later queries, and they spoil the gradients of all they see.
  expect_patterns(test::softmax_problem({1, 1, 1, kSeq, 3, 2}),
                  {{&Data::q, kSelf, kSelf, kEarlier, kEarlier},
                   {&Data::k, kLater, kLater, kAll, kAll},
                   {&Data::v, kLater, kLater, kAll, kNone},
                   {&Data::dout, kNone, kSelf, kEarlier, kEarlier}});
}

TEST(DirectOracle, SoftmaxKeepsNonFiniteOperandsInTheirDocument) {
  Problem problem = test::softmax_problem({1, 1, 1, kSeq, 3, 2});
  problem.cu_seqlens = {0, 3, 8, 10};
  expect_patterns(problem, {{&Data::q, kSelf, kSelf, "...xxx......", "...xxx......"},
                            {&Data::k, ".....xxx....", ".....xxx....", "...xxxxx....", "...xxxxx...."},
                            {&Data::v, ".....xxx....", ".....xxx....", "...xxxxx....", kNone},
                            {&Data::dout, kNone, kSelf, "...xxx......", "...xxx......"}});
  problem.cu_seqlens = {0, kBad};  // in the padding
  expect_patterns(problem, {{&Data::q, kNone, kNone, kNone, kNone},
                            {&Data::k, kNone, kNone, kNone, kNone},
                            {&Data::v, kNone, kNone, kNone, kNone},
                            {&Data::dout, kNone, kNone, kNone, kNone}});
}

TEST(DirectOracle, SoftmaxKeepsNonFiniteOperandsInTheirWindow) {
  Problem problem = test::softmax_problem({1, 1, 1, kSeq, 3, 2});
  problem.window = 3;
  expect_patterns(problem, {{&Data::q, kSelf, kSelf, "...xxx......", "...xxx......"},
                            {&Data::k, ".....xxx....", ".....xxx....", "...xxxxx....", "...xxxxx...."},
                            {&Data::v, ".....xxx....", ".....xxx....", "...xxxxx....", kNone},
                            {&Data::dout, kNone, kSelf, "...xxx......", "...xxx......"}});
}

TEST(DirectOracle, LightningShowsNonFiniteOperandsWhereTheyAreSeen) {
  expect_patterns(test::lightning_problem({1, 1, 1, kSeq, 3, 2}),
                  {{&Data::q, kSelf, kNone, kEarlier, kEarlier},
                   {&Data::k, kLater, kLater, kNone, kSelf},
                   {&Data::v, kLater, kLater, kSelf, kNone},
                   {&Data::dout, kNone, kSelf, kEarlier, kEarlier}});
}

TEST(DirectOracle, NonFiniteTokensAreSeenInTheirDocumentAlone) {
  Problem problem = test::lightning_problem({1, 1, 1, kSeq, 3, 2});
  problem.cu_seqlens = {0, 3, 8, 11};
  const std::string later = ".....xxx....", earlier = "...xxx......";
  expect_patterns(problem, {{&Data::q, kSelf, kNone, earlier, earlier},
                            {&Data::k, later, later, kNone, kSelf},
                            {&Data::v, later, later, kSelf, kNone},
                            {&Data::dout, kNone, kSelf, earlier, earlier}});
  problem.cu_seqlens = {0, 3, 5};  // the bad token is padding
  expect_patterns(problem, {{&Data::q, kNone, kNone, kNone, kNone},
                            {&Data::k, kNone, kNone, kNone, kNone},
                            {&Data::v, kNone, kNone, kNone, kNone},
                            {&Data::dout, kNone, kNone, kNone, kNone}});
}

TEST(DirectOracle, AKeyAtMinusInfinityHasNoWeight) {
  // A logit of -inf is a weight of 0: o must be that of the other keys, within a finite bound.
  Data data = make_data(test::softmax_problem({1, 1, 1, kSeq, 1, 2}));
  for (float& value : data.q) value = std::abs(value);
  data.k[kBad] = -std::numeric_limits<float>::infinity();
  EXPECT_EQ(pattern(judge(data).o), kNone);
}

TEST(DirectOracle, OtherHeadsAndBatchEntriesStayFinite) {
  for (const Problem& problem :
       {test::softmax_problem({2, 4, 2, 6, 3, 2}), test::lightning_problem({2, 4, 2, 6, 3, 2})}) {
    Data data = make_data(problem);
    data.v[0] = std::numeric_limits<float>::quiet_NaN();  // batch entry 0, kv head 0: query heads 0 and 1
    const Truth truth = judge(data);
    for (Index b = 0; b < 2; ++b) {
      for (Index h = 0; h < 4; ++h) {
        const View<const double> o{truth.o.value.data(), truth.o.shape};
        EXPECT_EQ(std::isnan(o.row(b, h, 5)[0]), b == 0 && h < 2) << b << " " << h;
      }
    }
  }
}

}  // namespace
}  // namespace ringside
