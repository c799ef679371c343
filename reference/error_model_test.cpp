// The bound of the oracles against plain fp32 implementations: honest (none exceeds it) and not loose beyond
// reason. Largest share of its bound that an error took over the cases below, measured (x86-64, g++ 12):
//               softmax  o     dq    dk    dv        lightning  o     dq    dk    dv
//   gaussian             0.032 0.019 0.012 0.023                0.039 0.043 0.060 0.032
//   large                0.025 0.010 0.025 0.049                0.039 0.039 0.054 0.058
//   constant             0.082 0.074 0.074 0.15                 0.17  0.17  0.20  0.27
//   one_hot              0.044 0.046 0.029 0.045                0.13  0.15  0.058 0.047
//   denormal             0.11  0.11  0.096 0.13                 0.53  0.59  0.44  0.38
// The last row's lightning is a single old term in a state that is decayed 300 times by the same rounded λ,
// as only the token-by-token implementation does. TF32 with fp32 inputs, where operands err most:
//   gaussian             0.12  0.11  0.12  0.16                 0.29  0.40  0.21  0.15
//   large                0.047 0.024 0.066 0.13                 0.30  0.36  0.21  0.14
//   constant             0.12  0.061 0.061 0.36                 0.29  0.29  0.28  0.28
//   one_hot              0.23  0.15  0.12  0.35                 0.13  0.13  0.10  0.089
//   denormal             0.67  0.70  0.64  0.76                 0.56  0.57  0.55  0.53
// With 16-bit storage shares come close to 1, as rounding to storage is allowed no more than it does.
#include "reference/error_model.h"

#include <algorithm>
#include <sstream>

#include "reference/denormals.h"
#include "reference/lightning_oracle.h"
#include "reference/softmax_oracle.h"
#include "reference/test_data.h"

namespace ringside {
namespace {

using test::Data;
using test::Fill;
using test::make_data;

// A plain implementation in fp32, by scalar loops. `reversed` sums over keys, queries and channels from the
// last to the first; `parts` > 1 merges that many partial results over interleaved keys, as a ring does.
// Operands of matrix products are made as `arithmetic.math` has them, results stored as `arithmetic.storage`.
struct Order {
  bool reversed = false;
  Index parts = 1;
  Arithmetic arithmetic{};

  float operand(float x) const {
    switch (arithmetic.math) {
      case Math::fp32:
        return x;
      case Math::tf32:
        return truncated_to_tf32(x);
      case Math::bf16:
        return rounded_to(DType::bf16, x);
    }
    return x;
  }
  void store(std::span<float> x) const {
    for (float& value : x) value = rounded_to(arithmetic.storage, value);
  }

  std::vector<Index> of(Index count, Index part = 0) const {
    std::vector<Index> order;
    for (Index i = part; i < count; i += parts) order.push_back(i);
    if (reversed) std::ranges::reverse(order);
    return order;
  }
  std::vector<Index> all(Index count) const { return Order{reversed, 1, {}}.of(count); }
};

struct Result {
  std::vector<float> o, dq, dk, dv;
  explicit Result(const Problem& p)
      : o(size(p.o_shape())), dq(size(p.q_shape())), dk(size(p.k_shape())), dv(size(p.v_shape())) {}
  static std::size_t size(const Shape& shape) { return static_cast<std::size_t>(shape.size()); }
};

float dot(std::span<const float> a, std::span<const float> b, const Order& order) {
  float sum = 0;
  for (std::size_t c = 0; c < a.size(); ++c) {
    const std::size_t at = order.reversed ? a.size() - 1 - c : c;
    sum += order.operand(a[at]) * order.operand(b[at]);
  }
  return sum;
}

void add(std::span<float> to, float factor, std::span<const float> x, const Order& order) {
  for (std::size_t c = 0; c < x.size(); ++c) to[c] += order.operand(factor) * order.operand(x[c]);
}

Result softmax_fp32(const Data& data, const Order& order) {
  const Problem& p = data.problem;
  const Operands x = data.operands();
  Result result(p);
  const View<float> o{result.o.data(), p.o_shape()}, dq{result.dq.data(), p.q_shape()};
  const View<float> dk{result.dk.data(), p.k_shape()}, dv{result.dv.data(), p.v_shape()};
  const float infinity = std::numeric_limits<float>::infinity();
  for (Index b = 0; b < p.batch; ++b) {
    for (Index h = 0; h < p.heads; ++h) {
      const Index kv = h / p.group();
      for (const Index i : order.all(p.seq)) {
        const Index visible = p.causal ? i + 1 : p.seq;
        std::vector<float> logits;
        for (Index j = 0; j < visible; ++j) {
          logits.push_back(p.scale * dot(x.q.row(b, h, i), x.k.row(b, kv, j), order));
        }
        const auto logit = [&](Index j) { return logits[static_cast<std::size_t>(j)]; };
        float lse = -infinity;
        const auto row = o.row(b, h, i);
        for (Index part = 0; part < std::min(order.parts, visible); ++part) {
          const std::vector<Index> keys = order.of(visible, part);
          float max = -infinity, sum = 0;
          std::vector<float> partial(row.size());
          for (const Index j : keys) max = std::max(max, logit(j));
          for (const Index j : keys) {
            const float weight = std::exp(logit(j) - max);
            sum += weight;
            add(partial, weight, x.v.row(b, kv, j), order);
          }
          const float part_lse = max + std::log(sum);
          const float top = std::max(lse, part_lse), bottom = std::min(lse, part_lse);
          const float merged = top + std::log1p(std::exp(bottom - top));
          for (std::size_t c = 0; c < row.size(); ++c) {
            row[c] = row[c] * std::exp(lse - merged) + partial[c] / sum * std::exp(part_lse - merged);
          }
          lse = merged;
        }
        const auto dout = x.dout.row(b, h, i);
        order.store(row);
        const float delta = dot(dout, row, {order.reversed, 1, {}});  // no matrix product
        for (const Index j : order.all(visible)) {
          const float weight = std::exp(logit(j) - lse);
          const float ds = weight * (dot(dout, x.v.row(b, kv, j), order) - delta) * p.scale;
          add(dq.row(b, h, i), ds, x.k.row(b, kv, j), order);
          add(dk.row(b, kv, j), ds, x.q.row(b, h, i), order);
          add(dv.row(b, kv, j), weight, dout, order);
        }
      }
    }
  }
  return result;
}

Result lightning_fp32(const Data& data, const Order& order) {
  const Problem& p = data.problem;
  const Operands x = data.operands();
  Result result(p);
  const View<float> o{result.o.data(), p.o_shape()}, dq{result.dq.data(), p.q_shape()};
  const View<float> dk{result.dk.data(), p.k_shape()}, dv{result.dv.data(), p.v_shape()};
  for (Index b = 0; b < p.batch; ++b) {
    for (Index h = 0; h < p.heads; ++h) {
      const Index kv = h / p.group();
      const float slope = p.slopes[static_cast<std::size_t>(h)];
      for (const Index i : order.all(p.seq)) {
        for (const Index j : order.all(i + 1)) {
          const float decay = std::exp(-slope * static_cast<float>(i - j));
          const float score = dot(x.q.row(b, h, i), x.k.row(b, kv, j), order) * decay;
          const float dscore = dot(x.dout.row(b, h, i), x.v.row(b, kv, j), order) * decay;
          add(o.row(b, h, i), score, x.v.row(b, kv, j), order);
          add(dq.row(b, h, i), dscore, x.k.row(b, kv, j), order);
          add(dk.row(b, kv, j), dscore, x.q.row(b, h, i), order);
          add(dv.row(b, kv, j), score, x.dout.row(b, h, i), order);
        }
      }
    }
  }
  return result;
}

/// Token by token with one rounded λ, which no kernel does: the same relative error at each of n steps.
Result lightning_fp32_states(const Data& data, const Order& order) {
  const Problem& p = data.problem;
  const Operands x = data.operands();
  Result result(p);
  const View<float> o{result.o.data(), p.o_shape()}, dq{result.dq.data(), p.q_shape()};
  const View<float> dk{result.dk.data(), p.k_shape()}, dv{result.dv.data(), p.v_shape()};
  const auto step = [&](std::span<float> s, float decay, std::span<const float> k, std::span<const float> v) {
    for (std::size_t a = 0; a < k.size(); ++a) {
      for (std::size_t c = 0; c < v.size(); ++c)
        s[a * v.size() + c] = decay * s[a * v.size() + c] + order.operand(k[a]) * order.operand(v[c]);
    }
  };
  const auto read = [&](std::span<const float> s, std::span<const float> k, std::span<const float> v,
                        float* by_k, float* by_v) {
    for (std::size_t a = 0; a < k.size(); ++a) {
      for (std::size_t c = 0; c < v.size(); ++c) {
        const float state = order.operand(s[a * v.size() + c]);
        by_v[c] += order.operand(k[a]) * state;
        by_k[a] += order.operand(v[c]) * state;
      }
    }
  };
  for (Index b = 0; b < p.batch; ++b) {
    for (Index h = 0; h < p.heads; ++h) {
      const Index kv = h / p.group();
      const float decay = std::exp(-p.slopes[static_cast<std::size_t>(h)]);
      std::vector<float> state(static_cast<std::size_t>(p.head_dim * p.value_dim));
      for (Index t = 0; t < p.seq; ++t) {
        step(state, decay, x.k.row(b, kv, t), x.v.row(b, kv, t));
        read(state, x.q.row(b, h, t), x.dout.row(b, h, t), dq.row(b, h, t).data(), o.row(b, h, t).data());
      }
      std::ranges::fill(state, 0.0F);
      for (Index t = p.seq - 1; t >= 0; --t) {
        step(state, decay, x.q.row(b, h, t), x.dout.row(b, h, t));
        read(state, x.k.row(b, kv, t), x.v.row(b, kv, t), dk.row(b, kv, t).data(), dv.row(b, kv, t).data());
      }
    }
  }
  return result;
}

/// Largest shares of their bounds that errors take.
struct Shares {
  double o = 0, dq = 0, dk = 0, dv = 0;
};

/// Raises `max` to the largest share in x, to NaN if there is one.
void raise(double& max, std::vector<float> x, const Expected& expected, const Order& order) {
  order.store(x);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double error = std::abs(static_cast<double>(x[i]) - expected.value[i]);
    const double stored = unit_roundoff(order.arithmetic.storage) * view_of(expected, false).stored(i);
    const double bound = 0x1p-24 * expected.error[i] + stored + expected.floor;
    const double threshold = overflow_threshold(order.arithmetic.storage);
    if (std::isinf(x[i]) && std::abs(expected.value[i]) + bound >= threshold) continue;
    const double share = error / bound;
    if (!(share <= max)) max = share;
  }
}

void raise(Shares& max, const Result& result, const Truth& truth, const Order& order) {
  raise(max.o, result.o, truth.o, order);
  raise(max.dq, result.dq, truth.dq, order);
  raise(max.dk, result.dk, truth.dk, order);
  raise(max.dv, result.dv, truth.dv, order);
}

/// Honest: below 1. For Gaussian operands, where no error vanishes by symmetry, also not loose beyond
/// reason: the bound adds up every error with the same sign at nine standard deviations, which costs two
/// orders of magnitude.
void expect_fair(const Shares& shares, Fill kind) {
  constexpr const char* kNames[] = {"gaussian", "large", "constant", "one_hot", "denormal"};
  std::ostringstream text;
  text.precision(2);
  text << "o " << shares.o << " dq " << shares.dq << " dk " << shares.dk << " dv " << shares.dv;
  testing::Test::RecordProperty(kNames[static_cast<int>(kind)], text.str());
  for (const double share : {shares.o, shares.dq, shares.dk, shares.dv}) {
    EXPECT_TRUE(share < 1) << kNames[static_cast<int>(kind)] << ": " << text.str();
    EXPECT_TRUE(kind != Fill::gaussian || share > 1e-3) << text.str();
  }
}

constexpr Fill kFills[] = {Fill::gaussian, Fill::large, Fill::constant, Fill::one_hot, Fill::denormal};

class Honest : public testing::TestWithParam<Arithmetic> {
 protected:
  /// Flushed denormals are the harder mode; both where it matters most.
  static std::vector<DenormalMode::Mode> modes() {
    if (GetParam().storage != DType::fp32 || GetParam().math != Math::fp32) return {DenormalMode::flush};
    return {DenormalMode::keep, DenormalMode::flush};
  }

  /// Operands as they are stored.
  static Data stored(Data data) {
    const Order order{false, 1, GetParam()};
    for (auto* x : {&data.q, &data.k, &data.v, &data.dout}) order.store(*x);
    return data;
  }
};

TEST_P(Honest, SoftmaxStaysWithin) {
  for (const Fill kind : kFills) {
    Shares max;
    for (const test::Sizes& sizes : {test::Sizes{1, 2, 1, 5, 3, 2}, test::Sizes{1, 4, 2, 200, 32, 16}}) {
      for (const bool causal : {true, false}) {
        const Data data = stored(make_data(test::softmax_problem(sizes, causal), kind));
        const Truth truth = softmax_oracle(data.problem, data.operands(), 1, GetParam());
        for (const auto mode : modes()) {
          const DenormalMode guard(mode);
          for (const auto& [reversed, parts] : {std::pair{false, 1}, {true, 1}, {false, 8}}) {
            const Order order{reversed, parts, GetParam()};
            raise(max, softmax_fp32(data, order), truth, order);
          }
        }
      }
    }
    expect_fair(max, kind);
  }
}

TEST_P(Honest, LightningStaysWithin) {
  const std::vector<float> alibi = alibi_slopes(4), extreme = {0, 1e-3F, 0.37F, 7.3F};
  for (const Fill kind : kFills) {
    Shares max;
    for (const Index seq : {5, 300}) {
      Data data = stored(make_data(test::lightning_problem({1, 4, 2, seq, 32, 16}), kind));
      for (const auto& slopes : {alibi, extreme}) {
        data.problem.slopes = slopes;
        const Truth truth = lightning_oracle(data.problem, data.operands(), 1, GetParam());
        for (const auto mode : modes()) {
          const DenormalMode guard(mode);
          for (const bool reversed : {false, true}) {
            const Order order{reversed, 1, GetParam()};
            raise(max, lightning_fp32(data, order), truth, order);
            if (!reversed) raise(max, lightning_fp32_states(data, order), truth, order);
          }
        }
      }
    }
    expect_fair(max, kind);
  }
}

INSTANTIATE_TEST_SUITE_P(
    ErrorModel, Honest,
    testing::Values(Arithmetic{DType::fp32, Math::fp32}, Arithmetic{DType::fp16, Math::fp32},
                    Arithmetic{DType::fp32, Math::tf32}, Arithmetic{DType::bf16, Math::tf32},
                    Arithmetic{DType::fp32, Math::bf16}, Arithmetic{DType::bf16, Math::bf16},
                    Arithmetic{DType::fp16, Math::bf16}),
    [](const auto& param) {
      return std::string(to_string(param.param.storage)) + "_" + std::string(to_string(param.param.math));
    });

TEST(ErrorModel, SumsGrowWithTheRootBeyondACertainLength) {
  EXPECT_EQ(growth(0), 0);
  EXPECT_EQ(growth(1), 1);
  EXPECT_EQ(growth(81), 81);
  EXPECT_EQ(growth(100, 3), 93);
  EXPECT_EQ(growth(10000), 900);
}

TEST(ErrorModel, SumsOfSingleTermsGrowFaster) {
  for (const Index len : {0, 1, 81, 100, 729}) EXPECT_EQ(growth_of_few(len, 2), growth(len, 2));
  EXPECT_EQ(growth_of_few(30000), 10000);
}

/// 1/10 added up one by one in fp32: not independent errors, and beyond the bound for those.
TEST(ErrorModel, EqualTermsAddedOneByOneStayWithin) {
  for (const Index len : {2, 100, 729, 5000, 100000}) {
    float sum = 0;
    for (Index i = 0; i < len; ++i) sum += 0.1F;
    const double exact = static_cast<double>(0.1F) * static_cast<double>(len);
    EXPECT_LE(std::abs(static_cast<double>(sum) - exact), 0x1p-24 * growth_of_few(len) * exact) << len;
  }
}

TEST(ErrorModel, ARowThatSeesNothingHasNoError) {
  EXPECT_EQ(weight_error(0, -std::numeric_limits<double>::infinity(), 0, 0), 0);
}

TEST(ErrorModel, TheFloorStaysFarBelowNormalResults) {
  for (const Fill kind : {Fill::gaussian, Fill::large}) {
    const Data softmax = make_data(test::softmax_problem({1, 2, 1, 256, 64, 64}), kind);
    const Data lightning = make_data(test::lightning_problem({1, 2, 1, 256, 64, 64}), kind);
    for (const Truth& truth : {softmax_oracle(softmax.problem, softmax.operands(), 1),
                               lightning_oracle(lightning.problem, lightning.operands(), 1)}) {
      for (const Expected* x : {&truth.o, &truth.dq, &truth.dk, &truth.dv}) {
        EXPECT_GE(x->floor, kSmallestNormal);
        EXPECT_LT(x->floor, 1e-20);
      }
    }
  }
}

// o <- o - σ·(o - o_b) at σ = 1 leaves what o - o_b was rounded by: of the size of what is to vanish, not of
// what comes.
TEST(Softmax, CommonMergeLeavesATraceWithinTheBound) {
  double largest = 0;
  for (int i = 1; i <= 100; ++i) {
    Data data = make_data(test::softmax_problem({.seq = 2}));
    data.q = {40, 40};
    data.k = {0, 1};
    data.v = {0.01F * static_cast<float>(i), 1e-6F};
    const Truth truth = softmax_oracle(data.problem, data.operands(), 1);
    const float sigma = 1 / (1 + std::exp(-40.0F)), o = data.v[0];
    const float merged = o - sigma * (o - data.v[1]);
    const double error = std::abs(double{merged} - truth.o.value[1]);
    largest = std::max(largest, error / (0x1p-24 * double{truth.o.error[1]} + truth.o.floor));
  }
  EXPECT_LE(largest, 1);
  EXPECT_GE(largest, 0.1);
}

// lse <- lse - log σ' rounds in proportion to what is left behind, and the weights of backward with it.
TEST(Softmax, CommonMergeOfAnLseFarBelowStaysWithinTheBound) {
  double largest = 0;
  for (int i = 1; i <= 100; ++i) {
    Data data = make_data(test::softmax_problem({.seq = 2}));
    const float low = -1000 - 0.37F * static_cast<float>(i), high = 0.3F;
    data.q = {1, 1};
    data.k = {low, high};
    data.v = {1, 1};
    data.dout = {0, 1};
    const Truth truth = softmax_oracle(data.problem, data.operands(), 1);
    const float apart = low - high, lse = low - (apart - std::log1p(std::exp(apart)));
    const double error = std::abs(double{std::exp(high - lse)} - truth.dv.value[1]);
    largest = std::max(largest, error / (0x1p-24 * double{truth.dv.error[1]} + truth.dv.floor));
  }
  EXPECT_LE(largest, 1);
  EXPECT_GE(largest, 0.1);
}

}  // namespace
}  // namespace ringside
