#include "reference/softmax_oracle.h"

#include <algorithm>
#include <limits>

#include "reference/direct_oracle.h"
#include "reference/error_model.h"
#include "reference/oracle_common.h"
#include "reference/oracle_matrix.h"

namespace ringside {
namespace {

constexpr Index kBlock = 128;  // query rows, and keys, at a time

struct Operand {
  Matrix x, abs;  // [tokens, dim]

  Operand(View<const float> tensor, Index b, Index h) : x(to_matrix(tensor, b, h)), abs(x.cwiseAbs()) {}
};

/// One head of an Expected while it is being computed.
struct Bounded {
  Matrix value, error, storage;

  explicit Bounded(const Shape& shape)
      : value(Matrix::Zero(shape.tokens, shape.dim)), error(value), storage(value) {}

  void store(Expected& to, Index b, Index h) const {
    head(to.value, to.shape, b, h) = value;
    head(to.error, to.shape, b, h) = error;
    head(to.storage, to.shape, b, h) = storage;
  }
};

/// Of a block of query rows and all keys that it can see, [rows, keys]: weights and the errors of their
/// logits.
struct Panels {
  Matrix p, logit_error;

  explicit Panels(Index seq) : p(kBlock, seq), logit_error(p) {}
};

/// One query head against its kv head.
class Head {
 public:
  Head(const Problem& problem, const Arithmetic& arithmetic, const Operands& operands, Index b, Index h,
       const Operand& k, const Operand& v, Panels& panels)
      : problem_(problem),
        arithmetic_(arithmetic),
        q_(operands.q, b, h),
        dout_(operands.dout, b, h),
        k_(k),
        v_(v),
        panels_(panels) {}

  /// Query rows [first, first + rows): sets their o and dq, adds their share to dk and dv.
  void block(Index first, Index rows, Bounded& o, Bounded& dq, Bounded& dk, Bounded& dv) const;

 private:
  Index visible(Index row) const { return problem_.causal ? row + 1 : problem_.seq; }
  /// Queries of the whole group that see a key.
  Index seen_by(Index key) const {
    return (problem_.causal ? problem_.seq - key : problem_.seq) * problem_.group();
  }

  const Problem& problem_;
  const Arithmetic& arithmetic_;
  Operand q_, dout_;
  const Operand &k_, &v_;
  Panels& panels_;
};

/// Logits -> weights of the first `visible` keys, the others 0. Returns the lse, -inf if there is nothing to
/// see.
double softmax_row(Eigen::Ref<Eigen::RowVectorXd> row, Index visible) {
  row.tail(row.size() - visible).setZero();
  if (visible == 0) return -std::numeric_limits<double>::infinity();
  auto seen = row.head(visible).array();
  const double max = seen.maxCoeff();
  seen = (seen - max).exp();
  seen = (seen > kNegligible).select(seen, 0);
  const double sum = seen.sum();
  seen /= sum;
  return max + std::log(sum);
}

void Head::block(Index first, Index rows, Bounded& o, Bounded& dq, Bounded& dk, Bounded& dv) const {
  const Index keys = visible(first + rows - 1);
  const double scale = problem_.scale, abs_scale = std::abs(scale);
  const double of_inputs = 2 * input_roundings(arithmetic_);
  const double of_outer = input_roundings(arithmetic_) + operand_roundings(arithmetic_.math);
  const auto q = q_.x.middleRows(first, rows), abs_q = q_.abs.middleRows(first, rows);
  const auto dout = dout_.x.middleRows(first, rows), abs_dout = dout_.abs.middleRows(first, rows);
  auto p = panels_.p.topLeftCorner(rows, keys), logit_error = panels_.logit_error.topLeftCorner(rows, keys);

  // Weights, and their errors w_ij = ε_ij + r_i.
  p.noalias() = scale * q * k_.x.topRows(keys).transpose();
  logit_error.noalias() =
      abs_scale * growth(problem_.head_dim, kLogit + of_inputs) * abs_q * k_.abs.topRows(keys).transpose();
  Eigen::VectorXd row_error(rows), row_growth(rows);
  for (Index r = 0; r < rows; ++r) {
    const Index m = visible(first + r);
    const double lse = softmax_row(p.row(r), m);
    row_error[r] = weight_error(m, lse, p.row(r).cwiseProduct(logit_error.row(r)).sum());
    row_growth[r] = growth(m, of_outer);
  }

  auto block_o = o.value.middleRows(first, rows), error_o = o.error.middleRows(first, rows);
  block_o.noalias() = p * v_.x.topRows(keys);
  for (Index j = 0; j < keys; j += kBlock) {
    const Index cols = std::min(kBlock, keys - j);
    Matrix weighted = logit_error.middleCols(j, cols);
    weighted.colwise() += row_error + row_growth;
    weighted.array() *= p.middleCols(j, cols).array();
    error_o.noalias() += weighted * v_.abs.middleRows(j, cols);
  }
  auto stored_o = o.storage.middleRows(first, rows);
  stored_o = block_o.cwiseAbs().cwiseMax(smallest_normal(arithmetic_.storage));

  // Δ is taken from o as stored, hence its share of u_store.
  const Eigen::VectorXd delta = dout.cwiseProduct(block_o).rowwise().sum();
  const Eigen::VectorXd delta_storage = abs_dout.cwiseProduct(stored_o).rowwise().sum();
  const double value_growth = growth(problem_.value_dim, kStore);
  const Eigen::VectorXd delta_error =
      value_growth * delta_storage + abs_dout.cwiseProduct(error_o).rowwise().sum();
  const Matrix stored_q = abs_scale * (delta_storage.asDiagonal() * abs_q);

  for (Index j = 0; j < keys; j += kBlock) {
    const Index cols = std::min(kBlock, keys - j);
    const auto k = k_.x.middleRows(j, cols), abs_k = k_.abs.middleRows(j, cols);
    const auto v = v_.x.middleRows(j, cols), abs_v = v_.abs.middleRows(j, cols);
    const auto weights = p.middleCols(j, cols);
    Eigen::RowVectorXd key_growth(cols);
    for (Index c = 0; c < cols; ++c) key_growth[c] = growth(seen_by(j + c), of_outer);

    // dS = P ∘ (dP - Δ), and the errors of the terms of dq, dk and dv.
    Matrix ds = dout * v.transpose(), dk_error = (value_growth + of_inputs) * abs_dout * abs_v.transpose();
    Matrix dq_error(rows, cols), dv_error(rows, cols);
    Eigen::RowVectorXd error(cols), abs_ds(cols), error_ds(cols);
    for (Index r = 0; r < rows; ++r) {
      const auto weight = weights.row(r).array();
      error.array() = logit_error.row(r).segment(j, cols).array() + row_error[r];
      ds.row(r).array() = weight * (ds.row(r).array() - delta[r]);
      abs_ds = ds.row(r).cwiseAbs();
      error_ds.array() =
          abs_ds.array() * (error.array() + kScore) + weight * (dk_error.row(r).array() + delta_error[r]);
      dq_error.row(r) = error_ds + row_growth[r] * abs_ds;
      dk_error.row(r) = error_ds + key_growth.cwiseProduct(abs_ds);
      dv_error.row(r).array() = weight * (error + key_growth).array();
    }

    dq.value.middleRows(first, rows).noalias() += scale * ds * k;
    dq.error.middleRows(first, rows).noalias() += abs_scale * dq_error * abs_k;
    dk.value.middleRows(j, cols).noalias() += scale * ds.transpose() * q;
    dk.error.middleRows(j, cols).noalias() += abs_scale * dk_error.transpose() * abs_q;
    dk.storage.middleRows(j, cols).noalias() += weights.transpose() * stored_q;
    dv.value.middleRows(j, cols).noalias() += weights.transpose() * dout;
    dv.error.middleRows(j, cols).noalias() += dv_error.transpose() * abs_dout;
  }
  Matrix stored_k = abs_scale * p * k_.abs.topRows(keys);
  dq.storage.middleRows(first, rows) =
      dq.value.middleRows(first, rows).cwiseAbs().cwiseMax(smallest_normal(arithmetic_.storage)) +
      delta_storage.asDiagonal() * stored_k;
}

}  // namespace

Truth softmax_oracle(const Problem& problem, const Operands& operands, int threads,
                     const Arithmetic& arithmetic) {
  check_problem(problem, Operator::softmax, operands);
  if (!all_finite(operands)) return direct_softmax(problem, operands, threads, arithmetic);
  Truth truth = make_truth(problem, operands);
  for_each_group(problem, threads, [&](Index b, Index kv) {
    Panels panels(problem.seq);
    const Operand k(operands.k, b, kv), v(operands.v, b, kv);
    Bounded dk(problem.k_shape()), dv(problem.v_shape());
    for (Index h = kv * problem.group(); h < (kv + 1) * problem.group(); ++h) {
      const Head head(problem, arithmetic, operands, b, h, k, v, panels);
      Bounded o(problem.o_shape()), dq(problem.q_shape());
      for (Index first = 0; first < problem.seq; first += kBlock) {
        head.block(first, std::min(kBlock, problem.seq - first), o, dq, dk, dv);
      }
      o.store(truth.o, b, h);
      dq.store(truth.dq, b, h);
    }
    dk.storage += dk.value.cwiseAbs().cwiseMax(smallest_normal(arithmetic.storage));
    dv.storage = dv.value.cwiseAbs().cwiseMax(smallest_normal(arithmetic.storage));
    dk.store(truth.dk, b, kv);
    dv.store(truth.dv, b, kv);
  });
  return truth;
}

}  // namespace ringside
