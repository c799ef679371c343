// Problems with operands, and comparisons, for oracle tests.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>
#include <string>
#include <vector>

#include "reference/bound.h"
#include "reference/problem.h"

namespace ringside::test {

enum class Fill { gaussian, large, constant, one_hot, denormal };

struct Data {
  Problem problem;
  std::vector<float> q, k, v, dout;

  Operands operands() const {
    return {{q.data(), problem.q_shape()},
            {k.data(), problem.k_shape()},
            {v.data(), problem.v_shape()},
            {dout.data(), problem.o_shape()}};
  }
};

/// Uniform in (0, 1) and Gaussian numbers from a 64-bit linear congruential generator: the same everywhere.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  double uniform() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return (static_cast<double>(state_ >> 12) + 0.5) * 0x1p-52;
  }
  double gaussian() {
    const double radius = std::sqrt(-2 * std::log(uniform()));
    return radius * std::cos(2 * std::numbers::pi * uniform());
  }

 private:
  std::uint64_t state_;
};

/// gaussian: N(0, 1). large: q and k 15 times that, for logits in the hundreds at scale 1/sqrt(dim).
/// constant: 0.1, which no sum of floats keeps exact. one_hot: 3 at channel token % dim, else 0. denormal:
/// N(0, 1) times 1 to 1e-45, so that operands, products and sums are denormal here and there.
inline std::vector<float> fill(const Shape& shape, Fill kind, bool is_score_operand, Random& random) {
  std::vector<float> x;
  for (Index i = 0; i < shape.size(); ++i) {
    double value = 0.1;
    if (kind == Fill::gaussian) value = random.gaussian();
    if (kind == Fill::large) value = random.gaussian() * (is_score_operand ? 15 : 1);
    if (kind == Fill::one_hot) value = i / shape.dim % shape.tokens % shape.dim == i % shape.dim ? 3 : 0;
    if (kind == Fill::denormal) value = random.gaussian() * std::pow(10, -45 * random.uniform());
    x.push_back(static_cast<float>(value));
  }
  return x;
}

inline Data make_data(const Problem& problem, Fill kind = Fill::gaussian, std::uint64_t seed = 1) {
  Random random(seed);
  Data data;
  data.problem = problem;
  data.q = fill(problem.q_shape(), kind, true, random);
  data.k = fill(problem.k_shape(), kind, true, random);
  data.v = fill(problem.v_shape(), kind, false, random);
  data.dout = fill(problem.o_shape(), kind, false, random);
  return data;
}

struct Sizes {
  Index batch = 1, heads = 1, kv_heads = 1, seq = 1, head_dim = 1, value_dim = 1;
};

inline Problem softmax_problem(const Sizes& s, bool causal = true) {
  return {Operator::softmax,         s.batch, s.heads, s.kv_heads, s.seq, s.head_dim, s.value_dim, causal,
          default_scale(s.head_dim), {}};
}

/// Slopes as ALiBi has them.
inline Problem lightning_problem(const Sizes& s) {
  return {Operator::lightning, s.batch,     s.heads, s.kv_heads, s.seq,
          s.head_dim,          s.value_dim, true,    1,          alibi_slopes(s.heads)};
}

/// A tensor by name, so that a failure says which.
struct Pair {
  const char* name;
  const Expected &a, &b;
};
inline std::vector<Pair> pairs(const Truth& a, const Truth& b) {
  return {{"o", a.o, b.o}, {"dq", a.dq, b.dq}, {"dk", a.dk, b.dk}, {"dv", a.dv, b.dv}};
}

/// Two fp64 implementations are both within 2⁻⁵³·error of the exact value (error_model.h holds for any
/// accumulator), so they are within twice that of each other; weights below 5e-131, which a form may drop,
/// are nothing beside kTiny. Error and storage tensors are sums of positive terms: equal to a relative 1e-9,
/// far more than rounding gives them in fp64. Errors are rounded to fp32, those of a group of up to six heads
/// at most seven times: 2⁻²¹, or as many of its smallest denormals (kTiny).
inline void expect_agree(const Truth& a, const Truth& b) {
  constexpr double kTiny = 0x1p-146;
  const auto near = [](double x, double y, double relative, double smallest) {
    return std::abs(x - y) <= relative * std::abs(y) + smallest;
  };
  for (const Pair& t : pairs(a, b)) {
    ASSERT_EQ(t.a.shape, t.b.shape) << t.name;
    ASSERT_EQ(t.a.floor, t.b.floor) << t.name;
    ASSERT_EQ(t.a.storage.size(), t.b.storage.size()) << t.name;
    for (std::size_t i = 0; i < t.a.value.size(); ++i) {
      ASSERT_LE(std::abs(t.a.value[i] - t.b.value[i]), 2 * 0x1p-53 * (t.b.error[i] + kTiny))
          << t.name << " " << i;
      ASSERT_TRUE(near(t.a.error[i], t.b.error[i], 0x1p-21, kTiny))
          << t.name << " " << i << ": " << t.a.error[i] << " " << t.b.error[i];
      ASSERT_TRUE(near(view_of(t.a, false).stored(i), view_of(t.b, false).stored(i), 1e-9, 1e-100))
          << t.name << " " << i;
    }
    // A share is a difference of two sums of the group, each of which may err so much.
    ASSERT_EQ(t.a.shares.size(), t.b.shares.size()) << t.name;
    for (std::size_t i = 0; i < t.a.shares.size(); ++i) {
      ASSERT_LE(std::abs(t.a.shares[i] - t.b.shares[i]), 4 * 0x1p-53 * (t.b.error[i] + kTiny))
          << t.name << " " << i;
    }
  }
}

inline void expect_identical(const Truth& a, const Truth& b) {
  for (const Pair& t : pairs(a, b)) {
    EXPECT_EQ(t.a.value, t.b.value) << t.name;
    EXPECT_EQ(t.a.error, t.b.error) << t.name;
    EXPECT_EQ(t.a.storage, t.b.storage) << t.name;
    EXPECT_EQ(t.a.shares, t.b.shares) << t.name;
  }
}

/// Each kv head once for every query head of its group: the same problem without groups. slopes stay per
/// query head.
inline Data repeat_kv_heads(const Data& data) {
  Data repeated = data;
  repeated.problem.kv_heads = data.problem.heads;
  const auto repeat = [&](const std::vector<float>& x, const Shape& shape) {
    std::vector<float> y;
    for (Index b = 0; b < shape.batch; ++b) {
      for (Index h = 0; h < data.problem.heads; ++h) {
        const float* from = View<const float>{x.data(), shape}.head(b, h / data.problem.group());
        y.insert(y.end(), from, from + shape.head_size());
      }
    }
    return y;
  };
  repeated.k = repeat(data.k, data.problem.k_shape());
  repeated.v = repeat(data.v, data.problem.v_shape());
  return repeated;
}

/// A gradient over all query heads, summed over each group: that over the kv heads.
inline std::vector<double> sum_groups(const Expected& x, const Shape& kv_shape) {
  std::vector<double> sums(static_cast<std::size_t>(kv_shape.size()));
  const Index group = x.shape.heads / kv_shape.heads, size = kv_shape.head_size();
  for (Index b = 0; b < kv_shape.batch; ++b) {
    for (Index h = 0; h < x.shape.heads; ++h) {
      for (Index i = 0; i < size; ++i) {
        sums[static_cast<std::size_t>((b * kv_shape.heads + h / group) * size + i)] +=
            x.value[static_cast<std::size_t>((b * x.shape.heads + h) * size + i)];
      }
    }
  }
  return sums;
}

/// Grouped heads against the same heads with k and v repeated: o and dq bit for bit (each head is computed
/// alone), dk and dv up to the order of the sum over the group.
template <typename Oracle>
void expect_groups_are_sums(const Data& data, Oracle oracle) {
  const Data repeated = repeat_kv_heads(data);
  const Truth grouped = oracle(data.problem, data.operands(), 1, {});
  const Truth alone = oracle(repeated.problem, repeated.operands(), 1, {});
  EXPECT_EQ(grouped.o.value, alone.o.value);
  EXPECT_EQ(grouped.dq.value, alone.dq.value);
  const auto expect_sum = [](const Expected& grouped_x, const Expected& x, const Shape& shape) {
    const std::vector<double> sum = sum_groups(x, shape);
    for (std::size_t i = 0; i < sum.size(); ++i) {
      ASSERT_NEAR(grouped_x.value[i], sum[i], 0x1p-52 * grouped_x.error[i]) << i;
    }
  };
  expect_sum(grouped.dk, alone.dk, data.problem.k_shape());
  expect_sum(grouped.dv, alone.dv, data.problem.v_shape());
}

/// Gradients against central differences of `forward(problem, q, k, v) -> o`, all in fp64. The loss Σ do∘o of
/// a step h has a truncation error h²·f'''/6, with third derivatives below 100 for operands of order 1, and a
/// rounding error of 2⁻⁵³·|terms|/h, some 1e-15/h: with h = 2⁻¹⁵ together below 2e-8. 1e-6 is well above, and
/// far below any gradient.
template <typename Forward>
void expect_finite_differences(const Data& data, const Truth& truth, Forward forward) {
  const auto widen = [](const std::vector<float>& x) { return std::vector<double>(x.begin(), x.end()); };
  std::vector<double> q = widen(data.q), k = widen(data.k), v = widen(data.v);
  const auto loss = [&] {
    const std::vector<double> o = forward(data.problem, q, k, v);
    double sum = 0;
    for (std::size_t i = 0; i < o.size(); ++i) sum += static_cast<double>(data.dout[i]) * o[i];
    return sum;
  };
  const auto check = [&](const char* name, std::vector<double>& x, const Expected& gradient) {
    constexpr double kStep = 0x1p-15;
    ASSERT_EQ(x.size(), gradient.value.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double at = x[i];
      x[i] = at + kStep;
      const double above = loss();
      x[i] = at - kStep;
      const double below = loss();
      x[i] = at;
      ASSERT_NEAR(gradient.value[i], (above - below) / (2 * kStep), 1e-6) << name << " " << i;
    }
  };
  check("dq", q, truth.dq);
  check("dk", k, truth.dk);
  check("dv", v, truth.dv);
  const std::vector<double> o = forward(data.problem, q, k, v);
  for (std::size_t i = 0; i < o.size(); ++i) ASSERT_NEAR(truth.o.value[i], o[i], 1e-12) << "o " << i;
}

}  // namespace ringside::test
