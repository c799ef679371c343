#include "reference/partials.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "reference/oracle_common.h"
#include "reference/oracle_matrix.h"

namespace ringside {
namespace {

constexpr Index kRows = 128;  // queries at a time

/// How many tokens of a run lie in a range.
Index tokens_in(const Run& run, const TokenRange& range) {
  const auto before = [&](Index token) {  // tokens of the run below it
    return std::clamp((token - run.start + run.stride - 1) / run.stride, Index{0}, run.count);
  };
  return before(range.end) - before(range.first);
}

/// What adds up to one tensor of a head: Σ |x_p|, and how many pieces there are of each row.
struct Sum {
  Matrix magnitude;           ///< [tokens, dim]
  Eigen::VectorXd pieces;     ///< of each row
  Matrix through_delta = {};  ///< [tokens, dim]; what D_i adds

  Sum(Index tokens, Index dim)
      : magnitude(Matrix::Zero(tokens, dim)),
        pieces(Eigen::VectorXd::Zero(tokens)),
        through_delta(Matrix::Zero(tokens, dim)) {}

  /// Adds a piece of some rows from `first` on; `in`: 1 for each row that has such a piece, else 0.
  void add(Index first, const Matrix& piece, const Eigen::VectorXd& in, double smallest) {
    magnitude.middleRows(first, piece.rows()) += in.asDiagonal() * piece.cwiseAbs().cwiseMax(smallest);
    pieces.segment(first, piece.rows()) += in;
  }
  /// Leaves out what is no rounding of its own. `same`: pieces are rounded to what results are stored in.
  void forget_single(bool same) {
    if (same) magnitude = (pieces.array() > 1).cast<double>().matrix().asDiagonal() * magnitude;
  }
};

/// The tokens of all pieces, one piece after the other, and the operands of a kv head in that order.
struct Keys {
  std::vector<Index> positions;
  Matrix k, v;
};

/// One query head, all of its rows that are asked for.
class Head {
 public:
  Head(const Problem& problem, const Operands& operands, std::span<const Index> rows, Index b, Index h,
       const Positions& pieces, const Keys& keys, DType storage, DType partials)
      : problem_(problem),
        operands_(operands),
        rows_(rows),
        b_(b),
        h_(h),
        pieces_(pieces),
        keys_(keys),
        smallest_(smallest_normal(partials)),
        same_(storage == partials) {}

  /// Adds to dk and dv, [tokens in the order of keys, dim]; enters o and dq into the truth.
  void run(Sum& dk, Sum& dv, Truth& truth) const;

 private:
  /// The block's rows against all keys; adds its terms of dk and dv, and what D adds to dk.
  void block(std::span<const Index> queries, Matrix& dk, Matrix& dv, Sum& dk_sum, Truth& truth) const;

  const Problem& problem_;
  const Operands& operands_;
  std::span<const Index> rows_;
  Index b_, h_;
  const Positions& pieces_;
  const Keys& keys_;
  double smallest_;
  bool same_;
};

void Head::run(Sum& dk, Sum& dv, Truth& truth) const {
  for (const Run& piece : pieces_) {
    std::vector<Index> queries;
    for (Index i = 0; i < piece.count; ++i) {
      if (std::ranges::binary_search(rows_, piece.position(i))) queries.push_back(piece.position(i));
    }
    if (queries.empty()) continue;
    Matrix dk_piece = Matrix::Zero(problem_.seq, problem_.head_dim);
    Matrix dv_piece = Matrix::Zero(problem_.seq, problem_.value_dim);
    for (std::size_t first = 0; first < queries.size(); first += kRows) {
      const std::size_t count = std::min<std::size_t>(kRows, queries.size() - first);
      block(std::span(queries).subspan(first, count), dk_piece, dv_piece, dk, truth);
    }
    Eigen::VectorXd in(problem_.seq);
    for (Index j = 0; j < problem_.seq; ++j)
      in[j] = seen_by(problem_, queries, keys_.positions[static_cast<std::size_t>(j)]) > 0;
    dk.add(0, dk_piece, in, smallest_);
    dv.add(0, dv_piece, in, smallest_);
  }
}

void Head::block(std::span<const Index> queries, Matrix& dk, Matrix& dv, Sum& dk_sum, Truth& truth) const {
  const auto rows = static_cast<Index>(queries.size());
  const double scale = problem_.scale, abs_scale = std::abs(scale);
  const Matrix q = to_matrix(operands_.q, b_, h_, queries), dout = to_matrix(operands_.dout, b_, h_, queries);

  Matrix p = scale * q * keys_.k.transpose();  // [rows, keys]: logits, then weights
  for (Index r = 0; r < rows; ++r) {
    const TokenRange seen = keys_seen(problem_, queries[static_cast<std::size_t>(r)]);
    for (Index j = 0; j < p.cols(); ++j) {
      const Index key = keys_.positions[static_cast<std::size_t>(j)];
      if (key < seen.first || key >= seen.end) p(r, j) = -std::numeric_limits<double>::infinity();
    }
    p.row(r) = (p.row(r).array() - p.row(r).maxCoeff()).exp();
    p.row(r) = (p.row(r).array() > kNegligible).select(p.row(r), 0);
    p.row(r) /= p.row(r).sum();
  }
  const Matrix o = p * keys_.v;
  const Eigen::VectorXd delta = dout.cwiseProduct(o).rowwise().sum();
  const Matrix ds = p.cwiseProduct((dout * keys_.v.transpose()).colwise() - delta);

  Sum of_o(rows, problem_.value_dim), of_dq(rows, problem_.head_dim);
  Index first = 0;
  for (const Run& piece : pieces_) {
    Eigen::VectorXd in(rows);
    for (Index r = 0; r < rows; ++r)
      in[r] = tokens_in(piece, keys_seen(problem_, queries[static_cast<std::size_t>(r)])) > 0;
    of_o.add(0, p.middleCols(first, piece.count) * keys_.v.middleRows(first, piece.count), in, smallest_);
    of_dq.add(0, scale * ds.middleCols(first, piece.count) * keys_.k.middleRows(first, piece.count), in,
              smallest_);
    first += piece.count;
  }
  of_o.forget_single(same_);
  of_dq.forget_single(same_);
  const Eigen::VectorXd of_delta = abs_scale * dout.cwiseAbs().cwiseProduct(of_o.magnitude).rowwise().sum();
  of_dq.magnitude += of_delta.asDiagonal() * (p * keys_.k.cwiseAbs());
  dk_sum.through_delta += p.transpose() * (of_delta.asDiagonal() * q.cwiseAbs());
  dk += scale * ds.transpose() * q;
  dv += p.transpose() * dout;
  for (Index r = 0; r < rows; ++r) {
    const Index row = queries[static_cast<std::size_t>(r)];
    head(truth.o.partials, truth.o.shape, b_, h_).row(row) = of_o.magnitude.row(r);
    head(truth.dq.partials, truth.dq.shape, b_, h_).row(row) = of_dq.magnitude.row(r);
  }
}

}  // namespace

void add_partials(const Problem& problem, const Operands& operands, int threads, DType storage,
                  DType partials, const Positions& pieces, Truth& truth) {
  check_problem(problem, Operator::softmax, operands);
  for (Expected* x : {&truth.o, &truth.dq, &truth.dk, &truth.dv}) x->partials.assign(x->value.size(), 0);
  const std::vector<Index> rows = query_rows(problem, operands);
  for_each_group(problem, threads, [&](Index b, Index kv) {
    Keys keys;
    for (const Run& piece : pieces) {
      for (Index i = 0; i < piece.count; ++i) keys.positions.push_back(piece.position(i));
    }
    keys.k = to_matrix(operands.k, b, kv, keys.positions);
    keys.v = to_matrix(operands.v, b, kv, keys.positions);
    Sum dk(problem.seq, problem.head_dim), dv(problem.seq, problem.value_dim);
    for (Index h = kv * problem.group(); h < (kv + 1) * problem.group(); ++h)
      Head(problem, operands, rows, b, h, pieces, keys, storage, partials).run(dk, dv, truth);
    for (const auto& [sum, to] : {std::pair{&dk, &truth.dk}, std::pair{&dv, &truth.dv}}) {
      sum->forget_single(storage == partials);
      for (Index j = 0; j < problem.seq; ++j)
        head(to->partials, to->shape, b, kv).row(keys.positions[static_cast<std::size_t>(j)]) =
            sum->magnitude.row(j) + sum->through_delta.row(j);
    }
  });
}

}  // namespace ringside
