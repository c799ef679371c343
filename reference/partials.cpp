#include "reference/partials.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "reference/oracle_common.h"
#include "reference/oracle_matrix.h"

namespace ringside {
namespace {

constexpr Index kRows = 128;  // queries at a time

/// The tokens of a piece, increasing.
std::vector<Index> tokens_of(const Positions& piece) {
  std::vector<Index> tokens;
  for (const Run& run : piece) {
    for (Index i = 0; i < run.count; ++i) tokens.push_back(run.position(i));
  }
  std::ranges::sort(tokens);
  return tokens;
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

  /// Adds a piece; `in`: 1 for each row that has such a piece, else 0.
  void add(const Matrix& piece, const Eigen::VectorXd& in, double smallest) {
    magnitude += in.asDiagonal() * piece.cwiseAbs().cwiseMax(smallest);
    pieces += in;
  }
  /// Leaves out what is no rounding of its own. `same`: pieces are rounded to what results are stored in.
  void forget_single(bool same) {
    if (same) magnitude = (pieces.array() > 1).cast<double>().matrix().asDiagonal() * magnitude;
  }
};

/// The tokens of all pieces, one piece after the other, and the operands of a kv head in that order.
struct Keys {
  std::vector<std::vector<Index>> pieces;
  std::vector<Index> positions;
  Matrix k, v;
};

/// The query heads of one kv head, all of their rows that are asked for.
class Group {
 public:
  Group(const Problem& problem, const Operands& operands, std::span<const Index> rows, Index b, Index kv,
        const Keys& keys, DType storage, DType partials)
      : problem_(problem),
        operands_(operands),
        rows_(rows),
        b_(b),
        kv_(kv),
        keys_(keys),
        smallest_(smallest_normal(partials)),
        same_(storage == partials) {}

  /// Adds to dk and dv, [tokens in the order of keys, dim]; enters o and dq into the truth.
  void run(Sum& dk, Sum& dv, Truth& truth) const;

 private:
  /// The block's rows against all keys; adds its terms of dk and dv, and what D adds to dk.
  void block(Index h, std::span<const Index> queries, Matrix& dk, Matrix& dv, Sum& dk_sum,
             Truth& truth) const;

  const Problem& problem_;
  const Operands& operands_;
  std::span<const Index> rows_;
  Index b_, kv_;
  const Keys& keys_;
  double smallest_;
  bool same_;
};

void Group::run(Sum& dk, Sum& dv, Truth& truth) const {
  const Index seq = problem_.seq, group = problem_.group();
  for (std::vector<Index> queries : keys_.pieces) {
    std::erase_if(queries, [&](Index query) { return !std::ranges::binary_search(rows_, query); });
    if (queries.empty()) continue;
    Eigen::VectorXd in(seq);
    for (Index j = 0; j < seq; ++j)
      in[j] = seen_by(problem_, queries, keys_.positions[static_cast<std::size_t>(j)]) > 0;
    Matrix dk_group = Matrix::Zero(seq, problem_.head_dim), dv_group = Matrix::Zero(seq, problem_.value_dim);
    for (Index h = kv_ * group; h < (kv_ + 1) * group; ++h) {
      Matrix dk_head = Matrix::Zero(seq, problem_.head_dim), dv_head = Matrix::Zero(seq, problem_.value_dim);
      for (std::size_t first = 0; first < queries.size(); first += kRows) {
        const std::size_t count = std::min<std::size_t>(kRows, queries.size() - first);
        block(h, std::span(queries).subspan(first, count), dk_head, dv_head, dk, truth);
      }
      dk.add(dk_head, in, smallest_);
      dv.add(dv_head, in, smallest_);
      dk_group += dk_head;
      dv_group += dv_head;
    }
    if (group == 1) continue;
    dk.add(dk_group, in, smallest_);
    dv.add(dv_group, in, smallest_);
  }
}

void Group::block(Index h, std::span<const Index> queries, Matrix& dk, Matrix& dv, Sum& dk_sum,
                  Truth& truth) const {
  const auto rows = static_cast<Index>(queries.size());
  const double scale = problem_.scale, abs_scale = std::abs(scale);
  const Matrix q = to_matrix(operands_.q, b_, h, queries), dout = to_matrix(operands_.dout, b_, h, queries);

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
  for (const std::vector<Index>& piece : keys_.pieces) {
    const auto count = std::ssize(piece);
    Eigen::VectorXd in(rows);
    for (Index r = 0; r < rows; ++r) {
      const TokenRange seen = keys_seen(problem_, queries[static_cast<std::size_t>(r)]);
      in[r] = std::ranges::lower_bound(piece, seen.end) > std::ranges::lower_bound(piece, seen.first);
    }
    of_o.add(p.middleCols(first, count) * keys_.v.middleRows(first, count), in, smallest_);
    of_dq.add(scale * ds.middleCols(first, count) * keys_.k.middleRows(first, count), in, smallest_);
    first += count;
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
    head(truth.o.partials, truth.o.shape, b_, h).row(row) = of_o.magnitude.row(r);
    head(truth.dq.partials, truth.dq.shape, b_, h).row(row) = of_dq.magnitude.row(r);
  }
}

}  // namespace

void add_partials(const Problem& problem, const Operands& operands, int threads, DType storage,
                  DType partials, const Pieces& pieces, Truth& truth) {
  check_problem(problem, Operator::softmax, operands);
  for (Expected* x : {&truth.o, &truth.dq, &truth.dk, &truth.dv}) x->partials.assign(x->value.size(), 0);
  const std::vector<Index> rows = query_rows(problem, operands);
  for_each_group(problem, threads, [&](Index b, Index kv) {
    Keys keys;
    for (const Positions& piece : pieces) {
      keys.pieces.push_back(tokens_of(piece));
      keys.positions.insert(keys.positions.end(), keys.pieces.back().begin(), keys.pieces.back().end());
    }
    keys.k = to_matrix(operands.k, b, kv, keys.positions);
    keys.v = to_matrix(operands.v, b, kv, keys.positions);
    Sum dk(problem.seq, problem.head_dim), dv(problem.seq, problem.value_dim);
    Group(problem, operands, rows, b, kv, keys, storage, partials).run(dk, dv, truth);
    for (const auto& [sum, to] : {std::pair{&dk, &truth.dk}, std::pair{&dv, &truth.dv}}) {
      sum->forget_single(storage == partials);
      for (Index j = 0; j < problem.seq; ++j)
        head(to->partials, to->shape, b, kv).row(keys.positions[static_cast<std::size_t>(j)]) =
            sum->magnitude.row(j) + sum->through_delta.row(j);
    }
  });
}

}  // namespace ringside
