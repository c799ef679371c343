#include "reference/softmax_oracle.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "reference/direct_oracle.h"
#include "reference/error_model.h"
#include "reference/oracle_common.h"
#include "reference/oracle_matrix.h"

namespace ringside {
namespace {

// Matrices of [kKeys, kRows] at a time: four of them and two pieces of the panels stay in the L2 cache.
constexpr Index kRows = 128;  // queries
constexpr Index kKeys = 64;   // keys

using Row = Eigen::Array<double, 1, Eigen::Dynamic, Eigen::RowMajor, 1, kRows>;  // a number for each query

struct Operand {
  Matrix x, abs;  // [tokens, dim]

  explicit Operand(Matrix tokens) : x(std::move(tokens)), abs(x.cwiseAbs()) {}
};

/// Some tokens of an Expected while they are being computed.
struct Bounded {
  Matrix value, error, storage;  // [tokens, dim]

  Bounded(Index tokens, Index dim) : value(Matrix::Zero(tokens, dim)), error(value), storage(value) {}

  /// As those tokens of a head.
  void store(Expected& to, Index b, Index h, std::span<const Index> rows) const {
    auto values = head(to.value, to.shape, b, h);
    auto errors = head(to.error, to.shape, b, h);
    for (Index i = 0; i < std::ssize(rows); ++i) {
      const Index row = rows[static_cast<std::size_t>(i)];
      values.row(row) = value.row(i);
      errors.row(row) = error.row(i).cast<float>();
      if (!to.storage.empty()) head(to.storage, to.shape, b, h).row(row) = storage.row(i);
    }
  }
};

/// Scratch of a group. By key, so that the sums over keys are sums of rows, and that some keys are one piece
/// of memory.
struct Scratch {
  // Weights and errors of their logits, of all keys: [seq, kRows].
  Matrix p, logit_error;
  // dS and the errors of the terms of each gradient, of some keys: [kKeys, kRows].
  Matrix ds, dq_error, dk_error, dv_error;
  // Of the rows: [kRows, dim].
  Bounded o, dq;

  explicit Scratch(const Problem& problem)
      : p(problem.seq, kRows),
        logit_error(problem.seq, kRows),
        ds(kKeys, kRows),
        dq_error(kKeys, kRows),
        dk_error(kKeys, kRows),
        dv_error(kKeys, kRows),
        o(kRows, problem.value_dim),
        dq(kRows, problem.head_dim) {}
};

/// The largest |v| in each dim among the keys that each of the rows sees: [rows, value_dim]. Each end of what
/// a row sees does not decrease: keys enter one by one, all anew where some have left.
Matrix largest_seen(const Problem& problem, std::span<const Index> rows, const Matrix& abs_v) {
  Matrix largest(std::ssize(rows), abs_v.cols());
  Eigen::RowVectorXd of_seen(abs_v.cols());
  TokenRange seen = {-1, -1};
  for (Index i = 0; i < std::ssize(rows); ++i) {
    const TokenRange keys = keys_seen(problem, rows[static_cast<std::size_t>(i)]);
    if (keys.first != seen.first) {
      seen = {keys.first, keys.first};
      of_seen.setZero();
    }
    for (; seen.end < keys.end; ++seen.end) of_seen = of_seen.cwiseMax(abs_v.row(seen.end));
    largest.row(i) = of_seen;
  }
  return largest;
}

/// What a kv head brings to its query heads.
struct Keys {
  Operand k, v;
  Matrix largest_v;  ///< largest_seen() of the query rows
};

/// One query head against its kv head. Rows of q, o and their like are those of `rows`, in its order.
class Head {
 public:
  Head(const Problem& problem, const Arithmetic& arithmetic, const Operands& operands,
       std::span<const Index> rows, Index b, Index h, const Keys& keys, Scratch& scratch)
      : problem_(problem),
        arithmetic_(arithmetic),
        rows_(rows),
        q_(to_matrix(operands.q, b, h, rows)),
        dout_(to_matrix(operands.dout, b, h, rows)),
        k_(keys.k),
        v_(keys.v),
        largest_v_(keys.largest_v),
        scratch_(scratch) {}

  /// Rows [first, first + rows): leaves their o and dq in the scratch, adds their share to dk and dv.
  void block(Index first, Index rows, Bounded& dk, Bounded& dv) const;

 private:
  /// The rows of a block that see a key.
  struct Seeing {
    Index first = 0, count = 0;
  };
  /// Of the rows [first, first + rows): the keys that any of them sees, and for each of those who does.
  struct Sight {
    TokenRange keys;
    std::vector<Seeing> by_key;  ///< neither end of it decreases with the key

    /// The rows that see any of the `count` keys from j on.
    Seeing of(Index j, Index count) const {
      const Seeing& one = by_key[static_cast<std::size_t>(j)];
      const Seeing& last = by_key[static_cast<std::size_t>(j + count - 1)];
      return {one.first, last.first + last.count - one.first};
    }
  };
  Sight sight(Index first, Index rows) const;
  /// Of each row: its lse, and the largest |logit| of those it sees.
  struct Logits {
    Row lse, largest;
  };
  /// Logits [keys, rows] -> weights, 0 where a row does not see a key.
  static Logits softmax(Eigen::Ref<Matrix> p, const Sight& sight);

  const Problem& problem_;
  const Arithmetic& arithmetic_;
  std::span<const Index> rows_;
  Operand q_, dout_;
  const Operand &k_, &v_;
  const Matrix& largest_v_;
  Scratch& scratch_;
};

Head::Sight Head::sight(Index first, Index rows) const {
  const auto block = rows_.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(rows));
  Sight sight = {{keys_seen(problem_, block.front()).first, keys_seen(problem_, block.back()).end}, {}};
  for (Index key = sight.keys.first; key < sight.keys.end; ++key) {
    const TokenRange queries = queries_seeing(problem_, key);
    const auto begin = std::ranges::lower_bound(block, queries.first);
    const auto end = std::ranges::lower_bound(block, queries.end);
    sight.by_key.push_back({begin - block.begin(), end - begin});
  }
  return sight;
}

Head::Logits Head::softmax(Eigen::Ref<Matrix> p, const Sight& sight) {
  const Index keys = p.rows(), rows = p.cols();
  Row max = Row::Constant(rows, -std::numeric_limits<double>::infinity()), sum = Row::Zero(rows);
  Row largest = Row::Zero(rows);
  for (Index j = 0; j < keys; ++j) {
    const Seeing seeing = sight.of(j, 1);
    auto seen = max.segment(seeing.first, seeing.count);
    const auto logits = p.row(j).segment(seeing.first, seeing.count).array();
    seen = seen.max(logits);
    auto of_seen = largest.segment(seeing.first, seeing.count);
    of_seen = of_seen.max(logits.abs());
  }
  for (Index j = 0; j < keys; ++j) {
    const Seeing seeing = sight.of(j, 1);
    auto weight = p.row(j).array();
    weight = (weight - max).exp();
    weight.head(seeing.first).setZero();
    weight.tail(rows - seeing.first - seeing.count).setZero();
    weight = (weight > kNegligible).select(weight, 0);
    sum += weight;
  }
  p.array().rowwise() /= sum;
  return {max + sum.log(), largest};
}

void Head::block(Index first, Index rows, Bounded& dk, Bounded& dv) const {
  const Sight sight = this->sight(first, rows);
  const Index first_key = sight.keys.first, keys = sight.keys.count();
  const double scale = problem_.scale, abs_scale = std::abs(scale);
  const double of_inputs = 2 * input_roundings(arithmetic_);
  const double of_outer = input_roundings(arithmetic_) + operand_roundings(arithmetic_.math);
  const double smallest = smallest_normal(arithmetic_.storage);
  const auto q = q_.x.middleRows(first, rows), abs_q = q_.abs.middleRows(first, rows);
  const auto dout = dout_.x.middleRows(first, rows), abs_dout = dout_.abs.middleRows(first, rows);
  auto p = scratch_.p.topLeftCorner(keys, rows), logit_error = scratch_.logit_error.topLeftCorner(keys, rows);

  // Weights, and their errors w_ij = ε_ij + r_i.
  p.noalias() = scale * k_.x.middleRows(first_key, keys) * q.transpose();
  logit_error.noalias() = (abs_scale * growth(problem_.head_dim, kLogit + of_inputs)) *
                          k_.abs.middleRows(first_key, keys) * abs_q.transpose();
  const auto [lse, largest_logit] = softmax(p, sight);
  Row row_error = Row::Zero(rows), row_growth(rows);
  for (Index j = 0; j < keys; ++j) row_error += p.row(j).array() * logit_error.row(j).array();
  for (Index r = 0; r < rows; ++r) {
    const Index m = keys_seen(problem_, rows_[static_cast<std::size_t>(first + r)]).count();
    row_error[r] = weight_error(m, lse[r], row_error[r], largest_logit[r]);
    row_growth[r] = growth(m, of_outer);
  }

  auto o = scratch_.o.value.topRows(rows), error_o = scratch_.o.error.topRows(rows);
  o.noalias() = p.transpose() * v_.x.middleRows(first_key, keys);
  error_o = kMerge * largest_v_.middleRows(first, rows);
  for (Index j = 0; j < keys; j += kKeys) {
    const Index count = std::min(kKeys, keys - j);
    const auto [row, seeing] = sight.of(j, count);
    auto weighted = scratch_.dv_error.topLeftCorner(count, seeing);
    const auto error = row_error.segment(row, seeing) + row_growth.segment(row, seeing);
    weighted = p.block(j, row, count, seeing).array() *
               (logit_error.block(j, row, count, seeing).array().rowwise() + error);
    error_o.middleRows(row, seeing).noalias() +=
        weighted.transpose() * v_.abs.middleRows(first_key + j, count);
  }
  auto stored_o = scratch_.o.storage.topRows(rows);
  stored_o = o.cwiseAbs().cwiseMax(smallest);

  // Δ is taken from o as stored, hence its share of u_store.
  const Row delta = dout.cwiseProduct(o).rowwise().sum().transpose();
  const Row delta_storage = abs_dout.cwiseProduct(stored_o).rowwise().sum().transpose();
  const double value_growth = growth(problem_.value_dim, kStore);
  const Row delta_error =
      value_growth * delta_storage + abs_dout.cwiseProduct(error_o).rowwise().sum().transpose().array();
  const auto stored = (abs_scale * delta_storage).matrix().asDiagonal();
  const Matrix stored_q = stored * abs_q;

  auto dq = scratch_.dq.value.topRows(rows), error_dq = scratch_.dq.error.topRows(rows);
  dq.setZero();
  error_dq.setZero();
  for (Index j = 0; j < keys; j += kKeys) {
    const Index count = std::min(kKeys, keys - j), key = first_key + j;
    const auto [row, seeing] = sight.of(j, count);
    const auto k = k_.x.middleRows(key, count), abs_k = k_.abs.middleRows(key, count);
    const auto v = v_.x.middleRows(key, count), abs_v = v_.abs.middleRows(key, count);
    const auto weights = p.block(j, row, count, seeing);

    // dS = P ∘ (dP - Δ), and the errors of the terms of dq, dk and dv.
    auto ds = scratch_.ds.topLeftCorner(count, seeing);
    auto dq_error = scratch_.dq_error.topLeftCorner(count, seeing);
    auto dk_error = scratch_.dk_error.topLeftCorner(count, seeing);
    auto dv_error = scratch_.dv_error.topLeftCorner(count, seeing);
    ds.noalias() = v * dout.middleRows(row, seeing).transpose();
    dk_error.noalias() = (value_growth + of_inputs) * abs_v * abs_dout.middleRows(row, seeing).transpose();
    for (Index c = 0; c < count; ++c) {
      const double growth_of_key = key_growth(problem_, rows_, key + c, of_outer);
      const auto weight = weights.row(c).array();
      const Row error = logit_error.row(j + c).segment(row, seeing).array() + row_error.segment(row, seeing);
      ds.row(c).array() = weight * (ds.row(c).array() - delta.segment(row, seeing));
      const Row abs_ds = ds.row(c).cwiseAbs();
      const Row error_ds =
          abs_ds * (error + kScore) + weight * (dk_error.row(c).array() + delta_error.segment(row, seeing));
      dq_error.row(c) = error_ds + row_growth.segment(row, seeing) * abs_ds;
      dk_error.row(c) = error_ds + growth_of_key * abs_ds;
      dv_error.row(c) = weight * (error + growth_of_key);
    }

    dq.middleRows(row, seeing).noalias() += scale * ds.transpose() * k;
    error_dq.middleRows(row, seeing).noalias() += abs_scale * dq_error.transpose() * abs_k;
    dk.value.middleRows(key, count).noalias() += scale * ds * q.middleRows(row, seeing);
    dk.error.middleRows(key, count).noalias() += abs_scale * dk_error * abs_q.middleRows(row, seeing);
    dk.storage.middleRows(key, count).noalias() += weights * stored_q.middleRows(row, seeing);
    dv.value.middleRows(key, count).noalias() += weights * dout.middleRows(row, seeing);
    dv.error.middleRows(key, count).noalias() += dv_error * abs_dout.middleRows(row, seeing);
  }
  auto storage_dq = scratch_.dq.storage.topRows(rows);
  storage_dq.noalias() = p.transpose() * k_.abs.middleRows(first_key, keys);
  storage_dq = dq.cwiseAbs().cwiseMax(smallest) + stored * storage_dq;
}

}  // namespace

Truth softmax_oracle(const Problem& problem, const Operands& operands, int threads,
                     const Arithmetic& arithmetic) {
  check_problem(problem, Operator::softmax, operands);
  if (!all_finite(operands)) return direct_softmax(problem, operands, threads, arithmetic);
  Truth truth = make_truth(problem, operands, arithmetic.storage);
  std::ranges::fill(truth.dq.storage, truth.dq.smallest);  // of the zeros in the other rows
  const std::vector<Index> rows = query_rows(problem, operands), keys = all_rows(problem.seq);
  for_each_group(problem, threads, [&](Index b, Index kv) {
    Scratch scratch(problem);
    Keys of_group = {
        Operand(to_matrix(operands.k, b, kv, keys)), Operand(to_matrix(operands.v, b, kv, keys)), {}};
    of_group.largest_v = largest_seen(problem, rows, of_group.v.abs);
    Bounded dk(problem.seq, problem.head_dim), dv(problem.seq, problem.value_dim);
    for (Index h = kv * problem.group(); h < (kv + 1) * problem.group(); ++h) {
      const Head query_head(problem, arithmetic, operands, rows, b, h, of_group, scratch);
      Matrix dk_before, dv_before;
      if (problem.group() > 1) dk_before = dk.value, dv_before = dv.value;
      for (Index first = 0; first < std::ssize(rows); first += kRows) {
        const Index count = std::min(kRows, std::ssize(rows) - first);
        query_head.block(first, count, dk, dv);
        const auto block =
            std::span(rows).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count));
        scratch.o.store(truth.o, b, h, block);
        scratch.dq.store(truth.dq, b, h, block);
      }
      if (problem.group() == 1) continue;
      const double smallest = smallest_normal(arithmetic.storage);
      head(truth.dk.shares, truth.dk.shape, b, kv) += (dk.value - dk_before).cwiseAbs().cwiseMax(smallest);
      head(truth.dv.shares, truth.dv.shape, b, kv) += (dv.value - dv_before).cwiseAbs().cwiseMax(smallest);
    }
    dk.storage += dk.value.cwiseAbs().cwiseMax(smallest_normal(arithmetic.storage));
    dk.store(truth.dk, b, kv, keys);
    dv.store(truth.dv, b, kv, keys);
  });
  return truth;
}

}  // namespace ringside
