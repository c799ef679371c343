#include "reference/lightning_oracle.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <stdexcept>
#include <vector>

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
constexpr Index kPiece = 128;     // tokens that are fp64 at a time, a multiple of kSteps
constexpr Index kCheckTokens = 1024;  // over which the two forms are compared

/// Some tokens of one head's operands. q, k: [n, d]; v, dout: [n, e].
struct Inputs {
  Matrix q, k, v, dout;

  Inputs absolute() const { return {q.cwiseAbs(), k.cwiseAbs(), v.cwiseAbs(), dout.cwiseAbs()}; }
};

/// One document of a head, of any length: reads `tokens` of its operands from `first` on.
struct Source {
  Index n;
  std::function<Inputs(Index first, Index tokens)> read;

  /// Decays are positive, so that a form gives Σ|terms| of each sum if it is applied to the absolute
  /// operands.
  Source absolute() const {
    return {n, [this](Index first, Index tokens) { return read(first, tokens).absolute(); }};
  }
};

/// Takes the sums of some tokens from `first` on. by_value: o or dv, [tokens, e]; by_key: dq or dk,
/// [tokens, d].
using Sink = std::function<void(Index first, const Matrix& by_value, const Matrix& by_key)>;

/// Gives every token's o and dq to one sink, dv and dk to another, some tokens at a time.
using Form = void (*)(const Source& source, double slope, const Sink& o_dq, const Sink& dv_dk);

void quadratic(const Source& source, double slope, const Sink& o_dq, const Sink& dv_dk) {
  const Inputs x = source.read(0, source.n);
  const Index n = source.n;
  Matrix o = Matrix::Zero(n, x.v.cols()), dq = Matrix::Zero(n, x.q.cols()), dk = dq, dv = o;
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
      o.middleRows(first, rows).noalias() += scores.transpose() * v;
      dq.middleRows(first, rows).noalias() += dscores.transpose() * k;
      dk.middleRows(j0, keys).noalias() += dscores * q;
      dv.middleRows(j0, keys).noalias() += scores * dout;
    }
  }
  o_dq(0, o, dq);
  dv_dk(0, dv, dk);
}

/// The recurrence S <- λ S + kᵀ v over these tokens, in their order or in reverse, with two reads after each
/// step: by_value = q S, and by_key = do Sᵀ. Rows of S do not mix, so a few of them at a time go through some
/// tokens.
void recur(const Matrix& k, const Matrix& v, const Matrix& q, const Matrix& dout, double decay, bool reverse,
           Matrix& state, Matrix& by_value, Matrix& by_key) {
  const Index n = k.rows(), d = k.cols();
  by_value = Matrix::Zero(n, v.cols());
  by_key.resize(n, d);
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

void recurrent(const Source& source, double slope, const Sink& o_dq, const Sink& dv_dk) {
  const double decay = std::exp(-slope);
  Matrix state, by_value, by_key;
  for (Index first = 0; first < source.n; first += kPiece) {
    const Inputs x = source.read(first, std::min(kPiece, source.n - first));
    if (first == 0) state = Matrix::Zero(x.k.cols(), x.v.cols());
    recur(x.k, x.v, x.q, x.dout, decay, false, state, by_value, by_key);
    o_dq(first, by_value, by_key);
  }
  state.setZero();
  for (Index end = source.n; end > 0; end -= std::min(kPiece, end)) {
    const Index first = std::max<Index>(end - kPiece, 0);
    const Inputs x = source.read(first, end - first);
    recur(x.q, x.dout, x.k, x.v, decay, true, state, by_value, by_key);
    dv_dk(first, by_value, by_key);
  }
}

/// `tokens` tokens from `begin` on, which are a sequence of their own.
struct Document {
  Index begin, tokens;
};

std::vector<Document> documents_of(const Problem& problem) {
  if (problem.cu_seqlens.empty()) return {{0, problem.seq}};
  std::vector<Document> documents;
  for (std::size_t i = 1; i < problem.cu_seqlens.size(); ++i) {
    const Index begin = problem.cu_seqlens[i - 1];
    documents.push_back({begin, problem.cu_seqlens[i] - begin});
  }
  return documents;
}

Document longest(const std::vector<Document>& documents) {
  const auto longest = std::ranges::max_element(documents, {}, &Document::tokens);
  return longest == documents.end() ? Document{0, 0} : *longest;
}

Source source(const Problem& problem, const Operands& operands, Index b, Index h, const Document& document) {
  const Index kv = h / problem.group(), begin = document.begin;
  return {document.tokens, [=, &operands](Index first, Index count) -> Inputs {
            return {to_matrix(operands.q, b, h, begin + first, count),
                    to_matrix(operands.k, b, kv, begin + first, count),
                    to_matrix(operands.v, b, kv, begin + first, count),
                    to_matrix(operands.dout, b, h, begin + first, count)};
          }};
}

/// Adds one document of query head h to the truth.
void evaluate(const Problem& problem, const Operands& operands, const Arithmetic& arithmetic, Form form,
              Index b, Index h, const Document& document, Truth& truth) {
  // Roundings of a term: its inner product over d or e, the sum over the tokens it is part of, its decay, the
  // operands it passes through.
  const Index n = document.tokens, kv = h / problem.group();
  Eigen::ArrayXd row_growth(n), key_growth(n);
  for (Index t = 0; t < n; ++t) {
    row_growth[t] = growth(t + 1);
    key_growth[t] = growth((n - t) * problem.group());
  }
  const double slope = problem.slopes[static_cast<std::size_t>(h)];
  const double decay = decay_error(slope, n) + lightning_roundings(arithmetic);
  const double of_head = growth(problem.head_dim, kStore) + decay;
  const double of_value = growth(problem.value_dim, kStore) + decay;

  const auto rows = [&](auto& tensor, const Shape& shape, Index head_index, Index first, const Matrix& part) {
    return head(tensor, shape, b, head_index).middleRows(document.begin + first, part.rows());
  };
  const auto add_value = [&](Expected& to, Index to_head, Index first, const Matrix& values) {
    rows(to.value, to.shape, to_head, first, values) += values;
    if (!to.shares.empty())
      rows(to.shares, to.shape, to_head, first, values) += values.cwiseAbs().cwiseMax(to.smallest);
  };
  const auto add_error = [&](Expected& to, Index to_head, Index first, const Matrix& magnitudes,
                             const Eigen::ArrayXd& over_tokens, double of_term) {
    const auto roundings = over_tokens.segment(first, magnitudes.rows()) + of_term;
    rows(to.error, to.shape, to_head, first, magnitudes) +=
        (roundings.matrix().asDiagonal() * magnitudes).cast<float>();
  };
  const Source x = source(problem, operands, b, h, document);
  form(
      x, slope,
      [&](Index first, const Matrix& o, const Matrix& dq) {
        add_value(truth.o, h, first, o);
        add_value(truth.dq, h, first, dq);
      },
      [&](Index first, const Matrix& dv, const Matrix& dk) {
        add_value(truth.dv, kv, first, dv);
        add_value(truth.dk, kv, first, dk);
      });
  form(
      x.absolute(), slope,
      [&](Index first, const Matrix& o, const Matrix& dq) {
        add_error(truth.o, h, first, o, row_growth, of_head);
        add_error(truth.dq, h, first, dq, row_growth, of_value);
      },
      [&](Index first, const Matrix& dv, const Matrix& dk) {
        add_error(truth.dv, kv, first, dv, key_growth, of_head);
        add_error(truth.dk, kv, first, dk, key_growth, of_value);
      });
}

/// All documents, each by itself; what is in none stays 0.
Truth evaluate(const Problem& problem, const Operands& operands, int threads, const Arithmetic& arithmetic,
               Form form) {
  Truth truth = make_truth(problem, operands, arithmetic.storage);
  const std::vector<Document> documents = documents_of(problem);
  const Index padding = problem.cu_seqlens.empty() ? 0 : problem.seq - problem.cu_seqlens.back();
  for_each_group(problem, threads, [&](Index b, Index kv) {
    for (Index h = kv * problem.group(); h < (kv + 1) * problem.group(); ++h) {
      for (const Document& document : documents)
        evaluate(problem, operands, arithmetic, form, b, h, document, truth);
      for (Expected* x : {&truth.dk, &truth.dv}) {
        if (!x->shares.empty()) head(x->shares, x->shape, b, kv).bottomRows(padding).array() += x->smallest;
      }
    }
  });
  return truth;
}

/// Both forms over the first n tokens of a document of one head. They may differ by the rounding of fp64, in
/// shares of 2⁻⁵³ of Σ|terms|: in each form at most n for the recurrence's powers or x + 1 for an exp(-x),
/// which is 0 for x > 746, n for the sums over tokens, d + e for those over dims.
void require_agreement(const Source& x, double slope, Index h) {
  struct Sums {
    Matrix o, dq, dk, dv;
  };
  const auto all = [&](Form form, const Source& from) {
    Sums sums;
    const auto put = [&](Matrix& to, Index first, const Matrix& part) {
      to.conservativeResize(from.n, part.cols());
      to.middleRows(first, part.rows()) = part;
    };
    form(
        from, slope,
        [&](Index first, const Matrix& o, const Matrix& dq) {
          put(sums.o, first, o);
          put(sums.dq, first, dq);
        },
        [&](Index first, const Matrix& dv, const Matrix& dk) {
          put(sums.dv, first, dv);
          put(sums.dk, first, dk);
        });
    return sums;
  };
  const Sums a = all(quadratic, x), b = all(recurrent, x), magnitude = all(recurrent, x.absolute());
  const auto roundings = static_cast<double>(2 * (2 * x.n + a.dq.cols() + a.o.cols() + 747));
  const auto compare = [&](const char* name, const Matrix& one, const Matrix& other, const Matrix& size) {
    const auto bound = roundings * 0x1p-53 * size.array() + kSmallestNormal;
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
  const Document document = longest(documents_of(problem));
  if (problem.batch > 0 && document.tokens > 0) {
    const Document begin = {document.begin, std::min(document.tokens, kCheckTokens)};
    Problem check = problem;
    check.batch = 1;
    check.heads = problem.group();
    check.kv_heads = 1;
    for_each_group(check, 1, [&](Index, Index) {
      for (Index h = 0; h < problem.group(); ++h) {
        require_agreement(source(problem, operands, 0, h, begin), problem.slopes[static_cast<std::size_t>(h)],
                          h);
      }
    });
  }
  // Multiply-adds of a token: 3(d + e) for each of the n/2 tokens it sees on average, or 6·d·e at a third
  // of the speed.
  const Index d = problem.head_dim, e = problem.value_dim;
  const bool use_quadratic = document.tokens * (d + e) < 12 * d * e;
  return evaluate(problem, operands, threads, arithmetic, use_quadratic ? quadratic : recurrent);
}

}  // namespace ringside
