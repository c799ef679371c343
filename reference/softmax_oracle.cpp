#include "reference/softmax_oracle.h"

#include <algorithm>
#include <limits>

#include "reference/direct_oracle.h"
#include "reference/error_model.h"
#include "reference/oracle_common.h"
#include "reference/oracle_matrix.h"

namespace ringside {
namespace {

constexpr Index kBlockRows = 64;

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

/// A block of query rows against all keys it can see, [rows, keys] each.
struct Panels {
  Matrix p, logit_error, weighted, ds, magnitude;

  explicit Panels(Index seq) : p(kBlockRows, seq), logit_error(p), weighted(p), ds(p), magnitude(p) {}
};

/// One query head against its kv head.
class Head {
 public:
  Head(const Problem& problem, const Operands& operands, Index b, Index h, const Operand& k, const Operand& v,
       Panels& panels)
      : problem_(problem), q_(operands.q, b, h), dout_(operands.dout, b, h), k_(k), v_(v), panels_(panels) {}

  /// Query rows [first, first + rows): sets their o and dq, adds their share to dk and dv.
  void block(Index first, Index rows, Bounded& o, Bounded& dq, Bounded& dk, Bounded& dv) const;

 private:
  Index visible(Index row) const { return problem_.causal ? row + 1 : problem_.seq; }
  /// Queries of the whole group that see a key.
  Index seen_by(Index key) const {
    return (problem_.causal ? problem_.seq - key : problem_.seq) * problem_.group();
  }

  const Problem& problem_;
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
  // Weights below exp(-300) = 5e-131 are dropped: they are nothing beside the floor, and no denormal slows a
  // product.
  seen = (seen - max > -300).select((seen - max).exp(), 0);
  const double sum = seen.sum();
  seen /= sum;
  return max + std::log(sum);
}

void Head::block(Index first, Index rows, Bounded& o, Bounded& dq, Bounded& dk, Bounded& dv) const {
  const Index keys = visible(first + rows - 1);
  const double scale = problem_.scale, abs_scale = std::abs(scale);
  const auto q = q_.x.middleRows(first, rows), abs_q = q_.abs.middleRows(first, rows);
  const auto dout = dout_.x.middleRows(first, rows), abs_dout = dout_.abs.middleRows(first, rows);
  const auto k = k_.x.topRows(keys), abs_k = k_.abs.topRows(keys);
  const auto v = v_.x.topRows(keys), abs_v = v_.abs.topRows(keys);
  auto p = panels_.p.topLeftCorner(rows, keys), logit_error = panels_.logit_error.topLeftCorner(rows, keys);
  auto weighted = panels_.weighted.topLeftCorner(rows, keys), ds = panels_.ds.topLeftCorner(rows, keys);
  auto magnitude = panels_.magnitude.topLeftCorner(rows, keys);

  // Weights, and their errors w_ij = ε_ij + r_i.
  p.noalias() = scale * q * k.transpose();
  logit_error.noalias() = abs_scale * growth(problem_.head_dim, kLogit) * abs_q * abs_k.transpose();
  Eigen::VectorXd row_error(rows), row_growth(rows);
  for (Index r = 0; r < rows; ++r) {
    const Index m = visible(first + r);
    const double lse = softmax_row(p.row(r), m);
    row_error[r] = weight_error(m, lse, p.row(r).cwiseProduct(logit_error.row(r)).sum());
    row_growth[r] = growth(m);
    weighted.row(r).array() =
        p.row(r).array() * (logit_error.row(r).array() + (row_error[r] + row_growth[r]));
  }
  auto block_o = o.value.middleRows(first, rows), error_o = o.error.middleRows(first, rows);
  block_o.noalias() = p * v;
  error_o.noalias() = weighted * abs_v;
  o.storage.middleRows(first, rows) = block_o.cwiseAbs();

  // dS = P ∘ (dP - Δ); Δ is taken from o as stored, hence its share of u_store.
  const Eigen::VectorXd delta = dout.cwiseProduct(block_o).rowwise().sum();
  const Eigen::VectorXd delta_storage = dout.cwiseProduct(block_o).cwiseAbs().rowwise().sum();
  const double value_growth = growth(problem_.value_dim, kStore);
  const Eigen::VectorXd delta_error =
      value_growth * delta_storage + abs_dout.cwiseProduct(error_o).rowwise().sum();
  ds.noalias() = dout * v.transpose();
  magnitude.noalias() = value_growth * abs_dout * abs_v.transpose();
  Eigen::RowVectorXd key_growth(keys);
  for (Index j = 0; j < keys; ++j) key_growth[j] = growth(seen_by(j));
  Eigen::RowVectorXd abs_ds(keys), error_ds(keys);
  for (Index r = 0; r < rows; ++r) {
    const auto weight = p.row(r).array();
    auto error = logit_error.row(r).array();
    ds.row(r).array() = weight * (ds.row(r).array() - delta[r]);
    abs_ds = ds.row(r).cwiseAbs();
    error += row_error[r];
    error_ds.array() =
        abs_ds.array() * (error + kScore) + weight * (magnitude.row(r).array() + delta_error[r]);
    weighted.row(r).array() = error_ds.array() + abs_ds.array() * row_growth[r];        // for dq
    magnitude.row(r).array() = error_ds.array() + abs_ds.array() * key_growth.array();  // for dk
    error = weight * (error + key_growth.array());                                      // for dv
  }

  auto block_dq = dq.value.middleRows(first, rows);
  block_dq.noalias() = scale * ds * k;
  dq.error.middleRows(first, rows).noalias() = abs_scale * weighted * abs_k;
  auto storage_dq = dq.storage.middleRows(first, rows);
  storage_dq.noalias() = abs_scale * p * abs_k;
  storage_dq.array().colwise() *= delta_storage.array();
  storage_dq += block_dq.cwiseAbs();

  const Matrix stored_q = abs_scale * (delta_storage.asDiagonal() * abs_q);
  dk.value.topRows(keys).noalias() += scale * ds.transpose() * q;
  dk.error.topRows(keys).noalias() += abs_scale * magnitude.transpose() * abs_q;
  dk.storage.topRows(keys).noalias() += p.transpose() * stored_q;
  dv.value.topRows(keys).noalias() += p.transpose() * dout;
  dv.error.topRows(keys).noalias() += logit_error.transpose() * abs_dout;
}

}  // namespace

Truth softmax_oracle(const Problem& problem, const Operands& operands, int threads) {
  check_problem(problem, Operator::softmax, operands);
  if (!all_finite(operands)) return direct_softmax(problem, operands, threads);
  Truth truth = make_truth(problem, operands);
  for_each_group(problem, threads, [&](Index b, Index kv) {
    Panels panels(problem.seq);
    const Operand k(operands.k, b, kv), v(operands.v, b, kv);
    Bounded dk(problem.k_shape()), dv(problem.v_shape());
    for (Index h = kv * problem.group(); h < (kv + 1) * problem.group(); ++h) {
      const Head head(problem, operands, b, h, k, v, panels);
      Bounded o(problem.o_shape()), dq(problem.q_shape());
      for (Index first = 0; first < problem.seq; first += kBlockRows) {
        head.block(first, std::min(kBlockRows, problem.seq - first), o, dq, dk, dv);
      }
      o.store(truth.o, b, h);
      dq.store(truth.dq, b, h);
    }
    dk.storage += dk.value.cwiseAbs();
    dv.storage = dv.value.cwiseAbs();
    dk.store(truth.dk, b, kv);
    dv.store(truth.dv, b, kv);
  });
  return truth;
}

}  // namespace ringside
