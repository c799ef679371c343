#include "reference/lightning_oracle.h"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

#include "reference/direct_oracle.h"
#include "reference/error_model.h"
#include "reference/oracle_common.h"
#include "reference/oracle_matrix.h"

namespace ringside {
namespace {

// Of the quadratic form: [kKeys, kRows] pairs at a time stay in the L2 cache, by key, as in the softmax
// oracle.
constexpr Index kRows = 128;
constexpr Index kKeys = 64;
constexpr Index kStateRows = 16;  // of the recurrent form: [16, value_dim] of the state stay in the L1 cache
constexpr Index kSteps = 32;      // while so many tokens pass, which stay in the L2 cache
constexpr Index kCheckTokens = 1024;  // over which the two forms are compared

/// One head's operands. q, k: [n, d]; v, dout: [n, e].
struct Inputs {
  Matrix q, k, v, dout;

  Inputs absolute() const { return {q.cwiseAbs(), k.cwiseAbs(), v.cwiseAbs(), dout.cwiseAbs()}; }
  Inputs first(Index tokens) const {
    return {q.topRows(tokens), k.topRows(tokens), v.topRows(tokens), dout.topRows(tokens)};
  }
};

/// One head's sums. o, dv: [n, e]; dq, dk: [n, d]. Decays are positive, so that a form gives Σ|terms| of each
/// sum if it is applied to the absolute operands.
struct Sums {
  Matrix o, dq, dk, dv;
};

using Form = Sums (*)(const Inputs& x, double slope);

Sums quadratic(const Inputs& x, double slope) {
  const Index n = x.q.rows(), d = x.q.cols(), e = x.v.cols();
  Sums sums{Matrix::Zero(n, e), Matrix::Zero(n, d), Matrix::Zero(n, d), Matrix::Zero(n, e)};
  // A row of Mᵀ is a piece of them: λ^(i-j) at i - j.
  Eigen::ArrayXd powers = (-slope * Eigen::ArrayXd::LinSpaced(n, 0, static_cast<double>(n - 1))).exp();
  powers = (powers > kNegligible).select(powers, 0);
  Matrix scratch(kKeys, kRows), dscratch(kKeys, kRows);
  for (Index i0 = 0; i0 < n; i0 += kRows) {
    const Index last = std::min(i0 + kRows, n);
    for (Index j0 = 0; j0 < last; j0 += kKeys) {
      // Of the rows, those before the first key see none.
      const Index first = std::max(i0, j0), rows = last - first, keys = std::min(kKeys, last - j0);
      const auto q = x.q.middleRows(first, rows), dout = x.dout.middleRows(first, rows);
      const auto k = x.k.middleRows(j0, keys), v = x.v.middleRows(j0, keys);
      auto scores = scratch.topLeftCorner(keys, rows), dscores = dscratch.topLeftCorner(keys, rows);
      scores.noalias() = k * q.transpose();
      dscores.noalias() = v * dout.transpose();
      for (Index c = 0; c < keys; ++c) {
        const Index j = j0 + c, blind = std::max<Index>(j - first, 0), seeing = rows - blind;
        const auto decays = powers.segment(first + blind - j, seeing).transpose();
        scores.row(c).head(blind).setZero();
        dscores.row(c).head(blind).setZero();
        scores.row(c).tail(seeing).array() *= decays;
        dscores.row(c).tail(seeing).array() *= decays;
      }
      sums.o.middleRows(first, rows).noalias() += scores.transpose() * v;
      sums.dq.middleRows(first, rows).noalias() += dscores.transpose() * k;
      sums.dk.middleRows(j0, keys).noalias() += dscores * q;
      sums.dv.middleRows(j0, keys).noalias() += scores * dout;
    }
  }
  return sums;
}

/// The recurrence S <- λ S + kᵀ v over all tokens, in their order or in reverse, with two reads after each
/// step: by_value = q S, and by_key = do Sᵀ. Rows of S do not mix, so a few of them at a time go through some
/// tokens.
void recur(const Matrix& k, const Matrix& v, const Matrix& q, const Matrix& dout, double decay, bool reverse,
           Matrix& by_value, Matrix& by_key) {
  const Index n = k.rows(), d = k.cols();
  Matrix state = Matrix::Zero(d, v.cols());
  for (Index done = 0; done < n; done += kSteps) {
    for (Index row = 0; row < d; row += kStateRows) {
      const Index rows = std::min(kStateRows, d - row);
      auto s = state.middleRows(row, rows);
      for (Index step = done; step < std::min(done + kSteps, n); ++step) {
        const Index t = reverse ? n - 1 - step : step;
        for (Index r = 0; r < rows; ++r) s.row(r) = decay * s.row(r) + k(t, row + r) * v.row(t);
        by_value.row(t).noalias() += q.row(t).segment(row, rows) * s;
        by_key.row(t).segment(row, rows).noalias() = dout.row(t) * s.transpose();
      }
    }
  }
}

Sums recurrent(const Inputs& x, double slope) {
  const Index n = x.q.rows(), d = x.q.cols(), e = x.v.cols();
  const double decay = std::exp(-slope);
  Sums sums{Matrix::Zero(n, e), Matrix(n, d), Matrix(n, d), Matrix::Zero(n, e)};
  recur(x.k, x.v, x.q, x.dout, decay, false, sums.o, sums.dq);
  recur(x.q, x.dout, x.k, x.v, decay, true, sums.dv, sums.dk);
  return sums;
}

Inputs inputs(const Problem& problem, const Operands& operands, Index b, Index h) {
  const Index kv = h / problem.group();
  return {to_matrix(operands.q, b, h), to_matrix(operands.k, b, kv), to_matrix(operands.v, b, kv),
          to_matrix(operands.dout, b, h)};
}

void store(const Matrix& value, const Matrix& error, DType storage, Expected& to, Index b, Index h) {
  head(to.value, to.shape, b, h) = value;
  head(to.error, to.shape, b, h) = error;
  head(to.storage, to.shape, b, h) = value.cwiseAbs().cwiseMax(smallest_normal(storage));
}

Truth evaluate(const Problem& problem, const Operands& operands, int threads, const Arithmetic& arithmetic,
               Form form) {
  Truth truth = make_truth(problem, operands);
  const Index n = problem.seq;
  // Roundings of a term: its inner product over d or e, the sum over the tokens it is part of, its decay, the
  // operands it passes through.
  Eigen::VectorXd row_growth(n), key_growth(n);
  for (Index t = 0; t < n; ++t) {
    row_growth[t] = growth(t + 1);
    key_growth[t] = growth((n - t) * problem.group());
  }
  const double head_growth = growth(problem.head_dim, kStore),
               value_growth = growth(problem.value_dim, kStore);
  for_each_group(problem, threads, [&](Index b, Index kv) {
    Matrix dk = Matrix::Zero(n, problem.head_dim), dk_error = dk;
    Matrix dv = Matrix::Zero(n, problem.value_dim), dv_error = dv;
    for (Index h = kv * problem.group(); h < (kv + 1) * problem.group(); ++h) {
      const double slope = problem.slopes[static_cast<std::size_t>(h)];
      const double decay = decay_error(slope, n) + lightning_roundings(arithmetic);
      const Inputs x = inputs(problem, operands, b, h);
      const Sums sums = form(x, slope), magnitudes = form(x.absolute(), slope);
      const Eigen::VectorXd o_growth = row_growth.array() + (head_growth + decay);
      const Eigen::VectorXd dq_growth = row_growth.array() + (value_growth + decay);
      const Eigen::VectorXd dk_growth = key_growth.array() + (value_growth + decay);
      const Eigen::VectorXd dv_growth = key_growth.array() + (head_growth + decay);
      store(sums.o, o_growth.asDiagonal() * magnitudes.o, arithmetic.storage, truth.o, b, h);
      store(sums.dq, dq_growth.asDiagonal() * magnitudes.dq, arithmetic.storage, truth.dq, b, h);
      if (problem.group() > 1) {
        head(truth.dk.shares, truth.dk.shape, b, kv) +=
            sums.dk.cwiseAbs().cwiseMax(smallest_normal(arithmetic.storage));
        head(truth.dv.shares, truth.dv.shape, b, kv) +=
            sums.dv.cwiseAbs().cwiseMax(smallest_normal(arithmetic.storage));
      }
      dk += sums.dk;
      dk_error += dk_growth.asDiagonal() * magnitudes.dk;
      dv += sums.dv;
      dv_error += dv_growth.asDiagonal() * magnitudes.dv;
    }
    store(dk, dk_error, arithmetic.storage, truth.dk, b, kv);
    store(dv, dv_error, arithmetic.storage, truth.dv, b, kv);
  });
  return truth;
}

/// Both forms over the first tokens of one head. They may differ by the rounding of fp64: for 1024 tokens at
/// most 1024·2⁻⁵³ for the recurrence's powers and some 9·√(1024·d)·2⁻⁵³ for the sums, below 1e-12 of
/// Σ|terms|.
void require_agreement(const Inputs& x, double slope, Index h) {
  const Sums a = quadratic(x, slope), b = recurrent(x, slope), magnitude = recurrent(x.absolute(), slope);
  const auto compare = [&](const char* name, const Matrix& one, const Matrix& other, const Matrix& size) {
    const auto bound = 1e-11 * size.array() + kSmallestNormal;
    if (((one - other).array().abs() <= bound).all()) return;
    throw std::logic_error(
        fmt::format("lightning oracle: {} of head {} differs by up to {} between its two forms", name, h,
                    (one - other).cwiseAbs().maxCoeff()));
  };
  compare("o", a.o, b.o, magnitude.o);
  compare("dq", a.dq, b.dq, magnitude.dq);
  compare("dk", a.dk, b.dk, magnitude.dk);
  compare("dv", a.dv, b.dv, magnitude.dv);
}

}  // namespace

Truth lightning_quadratic(const Problem& problem, const Operands& operands, int threads,
                          const Arithmetic& arithmetic) {
  check_problem(problem, Operator::lightning, operands);
  return evaluate(problem, operands, threads, arithmetic, quadratic);
}

Truth lightning_recurrent(const Problem& problem, const Operands& operands, int threads,
                          const Arithmetic& arithmetic) {
  check_problem(problem, Operator::lightning, operands);
  return evaluate(problem, operands, threads, arithmetic, recurrent);
}

Truth lightning_oracle(const Problem& problem, const Operands& operands, int threads,
                       const Arithmetic& arithmetic) {
  check_problem(problem, Operator::lightning, operands);
  if (!all_finite(operands)) return direct_lightning(problem, operands, threads, arithmetic);
  if (problem.batch > 0 && problem.seq > 0) {
    const Index tokens = std::min(problem.seq, kCheckTokens);
    Problem check = problem;
    check.batch = 1;
    check.heads = problem.group();
    check.kv_heads = 1;
    for_each_group(check, 1, [&](Index, Index) {
      for (Index h = 0; h < problem.group(); ++h) {
        require_agreement(inputs(problem, operands, 0, h).first(tokens),
                          problem.slopes[static_cast<std::size_t>(h)], h);
      }
    });
  }
  // Multiply-adds of a token: 3(d + e) for each of the n/2 tokens it sees on average, or 6·d·e at a third
  // of the speed.
  const Index d = problem.head_dim, e = problem.value_dim;
  const bool use_quadratic = problem.seq * (d + e) < 12 * d * e;
  return evaluate(problem, operands, threads, arithmetic, use_quadratic ? quadratic : recurrent);
}

}  // namespace ringside
